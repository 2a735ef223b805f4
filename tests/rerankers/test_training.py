import json

import pytest

from gr2 import training as shared
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import fit
from gr2.training import LOG


def options(world, later, folder, **changed) -> fit.Config:
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids, "kind": "glorank", "list_size": 2,
             "hidden_size": 8, "epochs": 9, "patience": 2, "learning_rate": 1e-12}  # fmt: skip
    return fit.Config(output_dir=str(folder), **known | changed)


def epochs(folder) -> list[int]:
    """Those that were judged."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [round(line["epoch"]) for line in lines if "eval_ndcg" in line]


def test_a_run_that_was_killed_before_it_saved_the_model_trains_no_epoch_more(world, later, tmp_path, monkeypatch):
    """At this learning rate nothing gets better: three epochs, of which two were waited for."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit.run(options(world, later, whole))
    with monkeypatch.context() as patch:
        patch.setattr(shared, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))  # the kill
        with pytest.raises(KeyboardInterrupt):
            fit.run(options(world, later, killed))
    assert read_json(shared.last_checkpoint(killed) + "/trainer_state.json")["epoch"] == 3
    fit.run(options(world, later, killed))
    assert epochs(killed) == epochs(whole) == [1, 2, 3]
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_diverges_is_refused_and_leaves_nothing(world, later, tmp_path):
    """A rate beyond all measure: weights that are no numbers would rank, and score a metric, all the same."""
    config = options(world, later, tmp_path / "out", kind="prm", learning_rate=1e38, interactions=world.interactions,
                     embeddings=world.embeddings)  # fmt: skip
    with pytest.raises(
        InputError, match="after epoch 1 the weights are not finite; expected a smaller --learning_rate"
    ):
        fit.run(config)
    assert not list((tmp_path / "out").iterdir())


def test_several_gpus_are_used_as_one(world, later, tmp_path, monkeypatch):
    import torch

    from gr2.rerankers.training import arguments

    read = arguments(options(world, later, tmp_path), "ndcg", None)
    assert read.device == torch.device("cpu") or read.n_gpu == 1
    read._n_gpu = 4  # as on a machine of four
    assert read.n_gpu == 1 and read.train_batch_size == 32


def test_several_processes_are_refused(world, later, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="gr2 fit trains in one process"):
        fit.run(options(world, later, tmp_path / "out"))
