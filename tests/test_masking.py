import json
from dataclasses import dataclass

import pytest

from gr2.cli import main
from gr2.masking import mask, mask_options
from gr2.options.declare import arg
from gr2.options.words import read_options
from gr2.runner.current import why_run


@pytest.mark.parametrize(("text", "masked"), [
    ("http://me:secret@host:80/v1 fails", "http://***@host:80/v1 fails"),
    ("https://secret@host/a@b", "https://***@host/a@b"),
    ("http://host/v1?api_key=secret&n=1", "http://host/v1?api_key=***&n=1"),
    ("gr2 rl --hub_token secret --seed 1", "gr2 rl --hub_token *** --seed 1"),
    ("gr2 rl --hub-token=secret --seed 1", "gr2 rl --hub-token=*** --seed 1"),
    ('{"token": "secret", "n": 1}', '{"token": "***", "n": 1}'),
    ("{'api_key': 'secret', 'n': 1}", "{'api_key': '***', 'n': 1}"),
    ("sids: unknown key 'level'; did you mean 'levels'?", "sids: unknown key 'level'; did you mean 'levels'?"),
    ("--max_tokens 3 --eos_token <|end|>", "--max_tokens 3 --eos_token <|end|>"),
    ("special token <s_a_0> is missing", "special token <s_a_0> is missing"),
    ("expected one key, 'stages', with a list", "expected one key, 'stages', with a list"),
])  # fmt: skip
def test_secrets_in_a_text_are_masked_and_nothing_else(text, masked):
    assert mask(text) == masked


def test_secrets_in_options_are_masked():
    options = {
        "hub_token": ["secret"],
        "api_key": ["secret"],
        "base_url": ["http://me:secret@host/v1"],
        "pad_token": ["<pad>"],
        "model_init_kwargs": ['{"token": "secret", "a": 1}'],
        "max_tokens": ["3"],
    }
    assert mask_options(options) == {
        "hub_token": ["***"],
        "api_key": ["***"],
        "base_url": ["http://***@host/v1"],
        "pad_token": ["<pad>"],
        "model_init_kwargs": ['{"token": "***", "a": 1}'],
        "max_tokens": ["3"],
    }


@dataclass
class Config:
    output_dir: str = arg(help="a folder")
    base_url: list[str] = arg([], "servers")
    hub_token: str | None = arg(None, "a secret")


def test_no_secret_reaches_a_file_or_the_terminal(tmp_path, monkeypatch, capsys):
    """What a run with a password leaves, finished and unfinished; a plan is recognised without the secret."""
    from gr2.errors import InputError
    from gr2.stages import rerank as stage

    words = ["--output_dir", str(tmp_path), "--base_url", "http://me:PASSWORD@host/v1", "--hub_token", "PASSWORD"]
    monkeypatch.setattr(stage, "Config", Config)
    monkeypatch.setattr("gr2.runner.checks.check_words", lambda *words: None)  # it reads the real options
    monkeypatch.setattr("sys.argv", ["gr2", "rerank", *words])

    def fails(config):
        assert config.base_url == ["http://me:PASSWORD@host/v1"] and config.hub_token == "PASSWORD"
        (tmp_path / "answers.partial").write_text("{}\n")
        raise InputError(f"{config.base_url[0]}: no answer")

    monkeypatch.setattr(stage, "run", fails)
    with pytest.raises(SystemExit):
        main(["rerank", *words])
    assert "PASSWORD" not in (tmp_path / "stage.json").read_text()
    assert capsys.readouterr().err == "gr2: http://***@host/v1: no answer\n"

    monkeypatch.setattr(stage, "run", lambda config: (tmp_path / "answers.partial").unlink())
    main(["rerank", *words])  # goes on from what it left
    manifest = (tmp_path / "manifest.json").read_text()
    assert "PASSWORD" not in manifest and json.loads(manifest)["options"]["hub_token"] == ["***"]
    assert (
        "--hub_token ***" in json.loads(manifest)["command"] or "--hub_token '***'" in json.loads(manifest)["command"]
    )
    assert why_run("rerank", read_options(words)) == "" and not list(tmp_path.parent.glob("*.old-*"))
