from gr2.artifacts import read_json, read_lines
from gr2.stage import input_paths
from gr2.traces import sample


def test_traces_say_by_which_prompt_domain_and_priming_they_were_made(world, tmp_path):
    config = sample.Config(items=world.items, semantic_ids=world.semantic_ids, slates=world.slates, mode="template",
                           prompt="prompts/rejection.yaml", domain="prompts/domains/movies.yaml", priming=False,
                           output_dir=str(tmp_path))  # fmt: skip
    sample.run(config)
    said = {"name": "rejection", "version": 1, "domain": "movies", "priming": False}
    assert read_json(tmp_path / "summary.json")["prompt"] == said
    system = read_lines(tmp_path / "traces.jsonl", ("messages",))[0]["messages"][0]["content"]
    assert "expert in films" in system and "sequels" not in system
    assert {"rejection.yaml", "movies.yaml"} <= {path.name for path in input_paths(config)}, (
        "the manifest has their sha256"
    )
