import json

import pytest
import torch

from gr2 import training as shared
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.rerankers.settings import Training
from gr2.rerankers.train import make_arguments
from gr2.training import LOG
from tests.helpers import fit


@pytest.fixture
def known(world, later):
    return {
        "items": world.items,
        "slates": later,
        "semantic_ids": world.semantic_ids,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "hidden_size": 8,
        "epochs": 9,
        "patience": 2,
        "list_size": 2,
        "learning_rate": 1e-12,
    }


def epochs(folder) -> list[int]:
    """Those that were judged."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [round(line["epoch"]) for line in lines if "eval_ndcg" in line]


def test_a_run_that_was_killed_before_it_saved_the_model_trains_no_epoch_more(known, tmp_path, monkeypatch):
    """At this learning rate nothing gets better: three epochs, of which two were waited for."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit("glorank", whole, known)
    with monkeypatch.context() as patch:
        patch.setattr(shared, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))  # the kill
        with pytest.raises(KeyboardInterrupt):
            fit("glorank", killed, known)
    assert read_json(shared.find_last_checkpoint(killed) + "/trainer_state.json")["epoch"] == 3
    fit("glorank", killed, known)
    assert epochs(killed) == epochs(whole) == [1, 2, 3]
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_diverges_is_refused_and_leaves_nothing(known, tmp_path):
    """A rate beyond all measure: weights that are no numbers would rank, and score a metric, all the same."""
    with pytest.raises(
        InputError, match="after epoch 1 the weights are not finite; expected a smaller --learning_rate"
    ):
        fit("prm", tmp_path / "out", known | {"learning_rate": 1e38})
    assert not list((tmp_path / "out").iterdir())


def test_several_gpus_are_used_as_one(tmp_path):
    training = Training(str(tmp_path), 0, 8, 1, 0.2, learning_rate=1e-3, batch_size=32, epochs=9, patience=2)
    read = make_arguments(training, "ndcg", None)
    assert read.device == torch.device("cpu") or read.n_gpu == 1
    read._n_gpu = 4  # as on a machine of four
    assert read.n_gpu == 1 and read.train_batch_size == 32


def test_several_processes_are_refused(known, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="gr2 fit trains in one process"):
        fit("glorank", tmp_path / "out", known)
