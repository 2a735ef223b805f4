import json
from pathlib import Path

import polars as pl
import pytest
from conftest import TINY, gr2

from gr2.artifacts import read_appended

pytestmark = pytest.mark.slow


def test_sft_teaches_the_answer_format(world, traced, tuned, tmp_path):
    gr2("rerank", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
        "--reranker", tuned, "--prompt", "prompts/student_no_trace.yaml", "--split", "train", "--max_tokens", "64",
        "--output_dir", tmp_path / "ranked")  # fmt: skip
    ranked = pl.read_parquet(tmp_path / "ranked/rankings.parquet")
    assert ranked["valid"].mean() > 0.3  # before: none, the model has never seen this format


def test_every_parameter_changed(midtrained, tuned):
    from safetensors.torch import load_file

    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (midtrained, tuned))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before)


def test_accepted_traces_count_once_and_the_first_file_wins(world, traced, tmp_path):
    from gr2.data.catalogue import read_catalogue
    from gr2.sft.train import Config, examples

    catalogue = read_catalogue(world.items, world.semantic_ids)
    rows = read_appended(traced.traces)
    better = rows[0] | {"reasoning": "a better explanation"}
    refused = rows[1] | {"reasoning": "never to be seen", "accepted": False, "reason": "unknown_id"}
    (tmp_path / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (better, refused)))
    config = Config(items=world.items, semantic_ids=world.semantic_ids, slates=traced.slates, bf16=False,
                    traces=[str(tmp_path / "first.jsonl"), traced.traces], model_name_or_path="-",
                    output_dir=str(tmp_path / "out"))  # fmt: skip
    texts = [row["completion"][0]["content"] for row in examples(config, catalogue)]
    assert len(texts) == len(rows)
    assert "a better explanation" in texts[0] and not any("never to be seen" in text for text in texts)


def test_an_example_longer_than_max_length_is_refused_not_cut(world, midtrained, traced, tmp_path):
    done = gr2("sft", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
               "--traces", traced.traces, "--model_name_or_path", midtrained, "--output_dir", tmp_path / "out",
               "--bf16", "false", "--max_length", "50", *TINY, expect=2)  # fmt: skip
    assert "max_length 50" in done.stderr and not (tmp_path / "out").exists()


def test_a_torn_or_missing_traces_file_is_refused_and_left_as_it_is(world, traced, tmp_path):
    from gr2.data.catalogue import read_catalogue
    from gr2.errors import InputError
    from gr2.sft.train import Config, examples

    torn = tmp_path / "torn.jsonl"
    torn.write_text(Path(traced.traces).read_text()[:-40])
    before = torn.read_bytes()
    for path, expected in ((torn, "expected a JSON object"), (tmp_path / "none.jsonl", "no such file")):
        config = Config(items=world.items, semantic_ids=world.semantic_ids, slates=traced.slates, traces=[str(path)],
                        model_name_or_path="-", output_dir=str(tmp_path / "out"))  # fmt: skip
        with pytest.raises(InputError, match=expected):
            examples(config, read_catalogue(world.items, world.semantic_ids))
    assert torn.read_bytes() == before
