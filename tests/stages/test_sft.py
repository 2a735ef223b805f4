import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import read_appended
from gr2.files.sid_tokens import SID
from gr2.language_model.loading import load_tokenizer
from gr2.options.parse import parse, read_options
from gr2.sft.weighting import encode
from gr2.stages.sft import Config, examples, run
from tests.helpers import TINY, gr2, refused, resumed_after_a_kill

pytestmark = pytest.mark.slow
REQUIRED = [
    word for name in ("items", "semantic_ids", "slates", "traces", "model_name_or_path") for word in (f"--{name}", "-")
]


def rows_of(world, traced, tokenizer=None, **settings) -> list[tuple[list[dict], str]]:
    given = {"traces": [traced.traces], "output_dir": "-", "bf16": False} | settings
    config = Config(
        items=world.items, semantic_ids=world.semantic_ids, slates=traced.slates, model_name_or_path="-", **given
    )
    slates, make = examples(config, read_catalogue(world.items, world.semantic_ids), tokenizer)
    return [make(slate) for slate in slates]


def test_sft_teaches_the_answer_format(world, traced, tuned, tmp_path):
    gr2("rerank", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
        "--reranker", tuned, "--prompt", "student_no_trace", "--split", "train", "--max_tokens", "64",
        "--output_dir", tmp_path / "ranked")  # fmt: skip
    ranked = pl.read_parquet(tmp_path / "ranked/rankings.parquet")
    assert ranked["valid"].mean() > 0.3  # before: none, the model has never seen this format


def test_every_parameter_changed(midtrained, tuned):
    from safetensors.torch import load_file

    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (midtrained, tuned))
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before)


def test_accepted_traces_count_once_and_the_first_file_wins(world, traced, tmp_path):
    rows = read_appended(traced.traces)
    better = rows[0] | {"reasoning": "a better explanation"}
    refused = rows[1] | {"reasoning": "never to be seen", "accepted": False, "reason": "unknown_id"}
    (tmp_path / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (better, refused)))
    texts = [text for _, text in rows_of(world, traced, traces=[str(tmp_path / "first.jsonl"), traced.traces])]
    assert len(texts) == len(rows)
    assert "a better explanation" in texts[0] and not any("never to be seen" in text for text in texts)


def test_an_example_longer_than_max_length_is_refused_not_cut(world, midtrained, traced, tmp_path):
    done = gr2("sft", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
               "--traces", traced.traces, "--model_name_or_path", midtrained, "--output_dir", tmp_path / "out",
               "--bf16", "false", "--max_length", "50", *TINY, expect=2)  # fmt: skip
    assert "max_length 50" in done.stderr and not (tmp_path / "out").exists()


def test_a_torn_or_missing_traces_file_is_refused_and_left_as_it_is(world, traced, tmp_path):
    torn = tmp_path / "torn.jsonl"
    torn.write_text(Path(traced.traces).read_text()[:-40])
    before = torn.read_bytes()
    for path, expected in ((torn, "expected a JSON object"), (tmp_path / "none.jsonl", "no such file")):
        with pytest.raises(InputError, match=expected):
            rows_of(world, traced, traces=[str(path)])
    assert torn.read_bytes() == before


def test_every_epoch_shows_the_candidates_in_another_order_and_learns_the_same_answer(world, traced):
    once, often = rows_of(world, traced), rows_of(world, traced, shuffle_candidates=True, num_train_epochs=8)
    assert often == rows_of(world, traced, shuffle_candidates=True, num_train_epochs=8)
    assert often[: len(once)] == rows_of(world, traced, shuffle_candidates=True, num_train_epochs=1)
    for at, (messages, text) in enumerate(once):
        own = often[at :: len(once)]
        assert len(own) == 8 and {answer for _, answer in own} == {text}
        shown = {tuple(SID.findall(chat[1]["content"])) for chat, _ in own}
        assert len({tuple(sids[:3]) for sids in shown}) > 1, "three candidates, in eight random orders"
        assert {(frozenset(sids[:3]), sids[3:]) for sids in shown} == {
            (frozenset(sids[:3]), sids[3:]) for sids in [tuple(SID.findall(messages[1]["content"]))]
        }


def test_histories_are_shortened_to_the_budget_of_the_prompt(world, traced, midtrained, capsys):
    tokenizer = load_tokenizer(midtrained)

    def tokens(messages: list[dict]) -> int:
        return len(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    lengths = [tokens(messages) for messages, _ in rows_of(world, traced)]
    budget = max(lengths) - 1
    rows = rows_of(world, traced, tokenizer, max_prompt_tokens=budget)
    long = sum(length > budget for length in lengths)
    assert f"{long} of {len(rows)} histories shortened" in capsys.readouterr().out and long > 0
    assert max(tokens(messages) for messages, _ in rows) <= budget
    with pytest.raises(InputError, match="max_prompt_tokens 20: slate_id"):
        rows_of(world, traced, tokenizer, max_prompt_tokens=20)


def test_resumed_training_gives_the_same_bytes(world, traced, midtrained, tmp_path):
    resumed_after_a_kill("sft", tmp_path, [
        "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates, "--traces", traced.traces,
        "--model_name_or_path", midtrained, "--trainable", "lora", "--shuffle_candidates", "true", "--num_train_epochs", "4",
        "--bf16", "false", "--per_device_train_batch_size", "4", "--save_steps", "5", "--logging_steps", "1",
        "--disable_tqdm", "true"])  # fmt: skip


def test_packing_leaves_no_token_out(world, traced, midtrained, tmp_path, capsys):
    config = Config(items=world.items, semantic_ids=world.semantic_ids, slates=traced.slates, traces=[traced.traces], bf16=False,
                    model_name_or_path=midtrained, output_dir=str(tmp_path), packing=True, per_device_train_batch_size=4,
                    num_train_epochs=1, logging_steps=1, save_strategy="no", disable_tqdm=True)  # fmt: skip
    run(config)
    log = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    tokenizer = load_tokenizer(midtrained)
    lengths = [len(encode(*example, tokenizer, 0.3, 1.0)["input_ids"]) for example in rows_of(world, traced)]
    assert [entry["num_tokens"] for entry in log if "loss" in entry][-1] == sum(lengths)
    assert config.packing, "the manifest says what was asked for"


@pytest.mark.parametrize(("words", "complaint"), [
    (["--lambda_reasoning", "-1"], "--lambda_reasoning -1.0: expected"),
    (["--lambda_reasoning", "0", "--lambda_ranking", "0"], "--lambda_ranking 0"),
    (["--loss_type", "dft"], "--loss_type dft: expected nll"),
    (["--packing", "true", "--packing_strategy", "wrapped"], "--packing_strategy wrapped: expected bfd"),
    (["--shuffle_candidates", "true", "--num_train_epochs", "1.5"], "--num_train_epochs 1.5"),
    (["--max_prompt_tokens", "0"], "--max_prompt_tokens 0"),
    (["--lora_rank", "0"], "--lora_rank 0"),
    (["--lambda_reasoning", "nan"], "--lambda_reasoning nan"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused(tmp_path, words, complaint):
    with pytest.raises(InputError, match=complaint):
        parse("sft", Config, read_options([*REQUIRED, "--output_dir", str(tmp_path), *words]))


def words_of(world, traced, model: str, out: Path, **changed: str) -> list[str]:
    given = {"items": world.items, "semantic_ids": world.semantic_ids, "slates": traced.slates, "traces": traced.traces,
             "model_name_or_path": model, "output_dir": str(out), "bf16": "false"} | changed  # fmt: skip
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def test_traces_of_other_slates_are_refused(world, traced, midtrained, tmp_path):
    """The slate_id is the same, user and position; another pre-ranker made another list."""
    rows = read_appended(traced.traces)
    others = [f"film{number:02d}" for number in range(6) if f"film{number:02d}" not in rows[3]["ranking"]]
    rows[3] = rows[3] | {"ranking": others[:3]}
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = refused("sft", *words_of(world, traced, midtrained, tmp_path / "out", traces=str(tmp_path / "traces.jsonl")))
    assert "traces.jsonl: row 3, column 'ranking': expected the 3 candidates of slate_id" in said
    assert not (tmp_path / "out").exists()


def test_explanations_that_cite_what_the_prompt_does_not_show_are_left_out(world, traced, tmp_path, capsys):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    slates = {row["slate_id"]: row for row in pl.read_parquet(traced.slates).iter_rows(named=True)}
    rows = read_appended(traced.traces)
    shown = set(slates[rows[0]["slate_id"]]["history"]) | set(slates[rows[0]["slate_id"]]["candidates"])
    hidden = next(name for name in catalogue.sid if name not in shown)
    rows[0] = rows[0] | {"reasoning": f"It is like {catalogue.sid[hidden]}, which nobody sees."}
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [text for _, text in rows_of(world, traced, traces=[str(tmp_path / "traces.jsonl")])]
    assert len(texts) == len(rows) - 1 and not any("nobody sees" in text for text in texts)
    assert f"left out: 1 of {len(rows)} examples" in capsys.readouterr().out


def test_a_model_that_does_not_know_the_ids_is_refused(world, traced, tmp_path):
    from gr2.language_model.loading import save_model
    from gr2.language_model.scratch import small_model, train_tokenizer

    tokenizer = train_tokenizer(["some words"], 300)
    save_model(small_model(tokenizer, 16, 1, 2, 512, seed=0), tokenizer, tmp_path / "base")
    said = refused("sft", *words_of(world, traced, str(tmp_path / "base"), tmp_path / "out"))
    assert "the model does not know <s_a_0>" in said and "run gr2 midtrain" in said
    assert not (tmp_path / "out").exists()


def test_a_model_that_was_taught_other_ids_is_refused(world, traced, midtrained, tuned, tmp_path):
    """Two items have changed their IDs; what is taught is handed on from mid-training to SFT."""
    from gr2.files.semantic_ids import write_ids

    frame = pl.read_parquet(world.semantic_ids)
    codes = frame["codes"].to_list()
    swapped = np.array([codes[1], codes[0], *codes[2:]])
    write_ids(tmp_path / "ids.parquet", frame["item_id"], swapped, {})
    for model in (midtrained, tuned):
        said = refused(
            "sft", *words_of(world, traced, model, tmp_path / "out", semantic_ids=str(tmp_path / "ids.parquet"))
        )
        assert "was taught other IDs" in said and "run gr2 midtrain again" in said
    said = refused("rerank", "--items", world.items, "--slates", traced.slates, "--reranker", tuned, "--output_dir",
                   tmp_path / "ranked", "--semantic_ids", tmp_path / "ids.parquet")  # fmt: skip
    assert "was taught other IDs" in said
    said = refused("slates", "--items", world.items, "--interactions", world.interactions, "--model_name_or_path", midtrained,
                   "--semantic_ids", tmp_path / "ids.parquet", "--output_dir", tmp_path / "slates")  # fmt: skip
    assert "was taught other IDs" in said
