"""Pushed to a stand-in for the hub (tests/hub_stand_in.py), by huggingface_hub's own client."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from gr2.cli import main
from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.language_model.id_record import check_taught
from gr2.language_model.loading import load_tokenizer
from gr2.runner.stage import run_stage
from tests.helpers import refused
from tests.hub_stand_in import TOKEN, Hub, stand_in_for_the_hub

SMALL = shlex.split(
    "--hidden_size 16 --layers 1 --heads 2 --vocab_size 300 --context 512 --passes 1 --max_steps 2 --bf16 false "
    "--save_steps 1 --disable_tqdm true --push_to_hub true"
)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with stand_in_for_the_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "".join([hub.url, *template[1:]]))
        yield hub


@pytest.fixture
def model(beginner, tmp_path) -> Path:
    """A finished folder, with more in it than what its stage wrote."""
    shutil.copytree(beginner, tmp_path / "model")
    (tmp_path / "model/checkpoint-1").mkdir()
    for name in ("checkpoint-1/model.safetensors", "answers.partial", "mine.txt"):
        (tmp_path / "model" / name).write_text("not to be pushed")
    return tmp_path / "model"


def pushed(hub: Hub, name: str) -> dict[str, bytes]:
    return hub.repositories[name].files


def listed(folder: Path) -> dict[str, str]:
    return json.loads((folder / "manifest.json").read_text())["outputs"]


def train(world, folder: Path, *more: str) -> None:
    run_stage("midtrain", [*midtrain_words(world), "--output_dir", str(folder), *more])


def midtrain_words(world) -> list[str]:
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--interactions", world.interactions]
    return [*tables, *SMALL]


def test_what_the_manifest_lists_is_pushed_and_nothing_else(hub, model, capsys):
    main(["push", str(model), "me/tiny"])
    files = pushed(hub, "me/tiny")
    assert files.keys() == listed(model).keys()
    assert {"model.safetensors", "tokenizer.json", "semantic_ids.json", "README.md"} <= files.keys()
    assert all(content == (model / name).read_bytes() for name, content in files.items() if name != "README.md")
    card = files["README.md"].decode()
    assert card == (model / "README.md").read_text().replace("me/model", "me/tiny") and '("me/tiny")' in card
    assert hub.repositories["me/tiny"].commits == ["gr2 midtrain"] and not hub.repositories["me/tiny"].private
    assert f"{model} -> {hub.url}/me/tiny/commit/" in capsys.readouterr().out


def test_the_users_own_name_private_a_branch_and_more_files(hub, world, model):
    also = ["--also", world.semantic_ids, world.items]
    main(["push", str(model), "tiny", "--private", "--revision", "first", *also])
    repository = hub.repositories["me/tiny"]
    assert repository.private and repository.files == {}
    extra = {"semantic_ids.parquet", "items.parquet"}
    assert repository.branches["first"].keys() == listed(model).keys() | extra
    assert repository.branches["first"]["items.parquet"] == Path(world.items).read_bytes()


def test_weights_of_an_earlier_push_go_and_all_else_stays(hub, model):
    main(["push", str(model), "me/tiny"])
    files = pushed(hub, "me/tiny")
    files |= {"model-00001-of-00002.safetensors": b"", "model.safetensors.index.json": b"", "photo.png": b""}
    main(["push", str(model), "me/tiny"])
    assert files.keys() == listed(model).keys() | {"photo.png"}


def test_a_refused_push_loses_nothing_and_says_how_to_push_again(hub, model, capsys):
    hub.refuses_commits = True
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    with pytest.raises(SystemExit) as stop:
        main(["push", str(model), "me/tiny"])
    complaint = capsys.readouterr().err
    complaint = complaint[complaint.index("gr2: ") :]  # after the bars of progress
    assert stop.value.code == 1 and complaint.count("\n") == 1
    assert f"{model} is finished, but was not pushed to me/tiny (403" in complaint and "Storage limit" in complaint
    assert complaint.endswith(f"push it again with: gr2 push {model} me/tiny\n")
    assert before == {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("token", "name"), [("hf_wrong", "me/tiny"), (TOKEN, "somebody/tiny"), (TOKEN, "a/b/c")])
def test_a_repository_that_may_not_be_written_to_is_refused(hub, model, monkeypatch, capsys, token, name):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SystemExit) as stop:
        main(["push", str(model), name])
    complaint = capsys.readouterr().err
    assert stop.value.code == 2 and complaint.count("\n") == 1 and token not in complaint
    assert f"gr2: {name}: expected a repository that the token" in complaint and hub.repositories == {}


def test_a_file_that_changed_is_not_pushed(hub, model, world):
    with open(model / "tokenizer.json", "a") as file:
        file.write(" ")
    with pytest.raises(InputError, match=r"tokenizer\.json: its sha256"):
        push(str(model), "me/tiny")
    (model / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json: no such file"):
        push(str(model), "me/tiny")
    with pytest.raises(InputError, match=r"prepare: expected the folder of one of .* found prepare|it has no manifest"):
        push(str(Path(world.items).parent), "me/tiny")
    assert hub.repositories == {}


def push(*words: str) -> None:
    from gr2.hub.push_command import main

    main([*words])


def test_a_file_too_many_is_refused(hub, model):
    for file, complaint in (("none.parquet", "expected a file"), ("config.json", "the model has its own config.json")):
        with pytest.raises(InputError, match=complaint):
            push(str(model), "me/tiny", "--also", str(model / file))
    assert hub.repositories == {}


def test_a_training_pushes_the_finished_folder_once(hub, world, tmp_path, capfd):
    train(world, tmp_path / "tiny", "--hub_token", TOKEN, "--hub_private_repo", "true")
    repository = hub.repositories["me/tiny"]  # the folder's name
    assert repository.private and repository.commits == ["gr2 midtrain"]
    assert repository.files.keys() == listed(tmp_path / "tiny").keys()
    manifest = json.loads((tmp_path / "tiny/manifest.json").read_text())
    assert manifest["config"]["push_to_hub"] is True and manifest["config"]["hub_token"] == "***"
    texts = [file.read_bytes() for file in (tmp_path / "tiny").rglob("*") if file.is_file()]
    texts += [*repository.files.values(), "".join(capfd.readouterr()).encode()]
    assert not any(TOKEN.encode() in text for text in texts)
    assert "hub_" not in repository.files["README.md"].decode()


def test_a_training_whose_push_fails_is_finished(hub, world, tmp_path):
    hub.refuses_commits = True
    with pytest.raises(OSError, match=r"tiny is finished, but was not pushed to me/tiny .*gr2 push .*tiny me/tiny$"):
        train(world, tmp_path / "tiny")
    assert all((tmp_path / "tiny" / name).exists() for name in listed(tmp_path / "tiny"))
    assert not (tmp_path / "tiny/stage.json").exists()
    hub.refuses_commits = False
    main(["push", str(tmp_path / "tiny"), "me/tiny"])
    assert pushed(hub, "me/tiny").keys() == listed(tmp_path / "tiny").keys()


def test_a_token_that_is_refused_is_known_before_anything_is_trained(hub, world, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    complaint = refused("midtrain", *midtrain_words(world), "--output_dir", tmp_path / "tiny")
    assert "tiny: expected a repository that the token" in complaint and not (tmp_path / "tiny").exists()


def test_checkpoints_are_never_pushed(hub, world, tmp_path):
    words = [*midtrain_words(world), "--output_dir", tmp_path / "tiny", "--hub_strategy", "checkpoint"]
    assert "--hub_strategy checkpoint: expected one of end" in refused("midtrain", *words)


def test_the_ids_that_a_model_on_the_hub_was_taught_are_known(hub, world, model, tmp_path):
    main(["push", str(model), "me/tiny"])
    catalogue, tokenizer = read_catalogue(world.items, world.semantic_ids), load_tokenizer(str(model))
    assert check_taught("me/tiny", tokenizer, catalogue, "ids") == json.loads((model / "semantic_ids.json").read_text())
    del pushed(hub, "me/tiny")["semantic_ids.json"]
    hub.repositories["me/tiny"].commits.append("without the IDs")
    assert check_taught("me/tiny", tokenizer, catalogue, "ids") is None
