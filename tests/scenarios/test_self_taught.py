"""STaR (2203.14465): a student that writes traces answers its own prompt and learns from what it got right."""

import json
from pathlib import Path

import pytest

from gr2.files.artifacts import read_json, read_lines
from gr2.files.sid_tokens import SID
from gr2.language_model.loading import load_tokenizer
from gr2.traces.store import COLUMNS
from tests.forking import forked
from tests.helpers import TINY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def words(world, traced) -> list[str]:
    return ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
            "--prompt", "student"]  # fmt: skip


def sft(words: list[str], start: str, traces: list, folder: Path, *more: str) -> Path:
    forked("sft", *words, "--model_name_or_path", start, "--traces", *traces, "--output_dir", folder, "--bf16", "false",
           "--learning_rate", "5e-3", *more, *TINY)  # fmt: skip
    return folder


def ask(words: list[str], student: Path, folder: Path, *more: str) -> list[dict]:
    """A round: the student is its own teacher."""
    forked("traces", *words, "--mode", "rejection", "--engine", "transformers", "--model_name_or_path", student,
           "--tries", "3", "--temperature", "0.5", "--max_tokens", "200", "--output_dir", folder, *more)  # fmt: skip
    return read_lines(folder / "traces.jsonl", COLUMNS)


@pytest.fixture(scope="module")
def student(words, midtrained, traced, tmp_path_factory) -> Path:
    """The mid-trained model after SFT on template traces, which it now writes by itself."""
    return sft(words, midtrained, [traced.traces], tmp_path_factory.mktemp("student"), "--num_train_epochs", "12")


def test_two_rounds_of_self_teaching(words, midtrained, student, traced, tmp_path):
    first = ask(words, student, tmp_path / "round1")
    accepted = [row for row in first if row["accepted"]]
    print(json.dumps(read_json(tmp_path / "round1/summary.json"), indent=1))
    assert len(accepted) > 5
    tokenizer = load_tokenizer(str(student))
    added = tokenizer.get_added_vocab()
    for row in accepted:
        cited = SID.findall(row["completion"])
        assert len(cited) >= len(row["ranking"]) == 3
        written = tokenizer.tokenize(row["completion"])
        assert sum(token in added for token in written) >= 5 * len(cited), (
            "semantic IDs are in the student's own tokens"
        )
        assert all(sid in row["messages"][1]["content"] for sid in cited)
    # The next student starts from the same model as the first, not from the first (STaR, section 3.1).
    again = sft(words, midtrained, [tmp_path / "round1/traces.jsonl"], tmp_path / "student2", "--max_steps", "40")
    second = ask(words, again, tmp_path / "round2", "--skip_accepted", tmp_path / "round1/traces.jsonl")
    assert {row["slate_id"] for row in second} == {row["slate_id"] for row in first} - {
        row["slate_id"] for row in accepted
    }
    files = [tmp_path / f"round{number}/traces.jsonl" for number in (1, 2)]
    third = sft(words, midtrained, files, tmp_path / "student3", "--max_steps", "2")
    assert (third / "model.safetensors").exists()
