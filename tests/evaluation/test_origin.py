import json

from gr2.evaluation.origin import find_stages, read_prepared


def stage(folder, name, inputs=(), **others):
    """A folder with a manifest as a stage leaves it; returns a file of it."""
    folder.mkdir()
    manifest = {"stage": name, "inputs": dict.fromkeys(map(str, inputs), "1f"), "outputs": {}, "seconds": 2.5}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"input_paths": [*map(str, inputs)]} | others))
    return folder / "file"


def test_stages_are_in_the_order_of_data_flow_each_once_with_the_options_that_name_no_file(tmp_path):
    data = stage(tmp_path / "prepare", "prepare")
    slates = stage(tmp_path / "slates", "slates", [data])
    given = {"reranker": [str(slates)], "named": [f"a={slates}"], "seed": ["1"], "mixture": ["a=1", "b=2"]}
    made = {"options": given | {"output_dir": ["x"]}, "git_commit": "abc", "finished": "2026-11-29T03:04:05+00:00"}
    ranked = stage(tmp_path / "ranked", "rerank", [slates, data, tmp_path / "ranked/file"], **made)
    stages = find_stages([str(ranked), str(slates), str(tmp_path / "alone.parquet")])
    assert [found["stage"] for found in stages] == ["prepare", "slates", "rerank"]
    assert stages[-1] == {
        "folder": str(ranked.parent), "stage": "rerank", "options": {"seed": "1", "mixture": "a=1 b=2"},
        "commit": "abc", "finished": made["finished"], "seconds": 2.5,
    }  # fmt: skip
    assert (stages[0]["commit"], stages[0]["finished"], stages[0]["options"]) == (None, None, {})


def test_the_summary_is_that_of_the_stage_which_wrote_the_interactions(tmp_path):
    file = stage(tmp_path / "prepare", "prepare")
    assert read_prepared(None) is None and read_prepared(str(file)) is None
    (tmp_path / "prepare/summary.json").write_text('{"events": 3}')
    assert read_prepared(str(file)) == {"events": 3}
    other = stage(tmp_path / "traces", "traces")
    (tmp_path / "traces/summary.json").write_text("{}")
    assert read_prepared(str(other)) is None and read_prepared(str(tmp_path / "mine.parquet")) is None
