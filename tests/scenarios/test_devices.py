"""Small rerankers run where the Trainer moves them.

With torch's `meta` device as the default, a tensor that is made without `device=` lands on meta and meets the inputs'
device, the CPU, which raises as CPU and CUDA would.
"""

from dataclasses import replace
from functools import partial

import polars as pl
import pytest
import torch
from torch.testing import assert_close

from gr2.data.catalogue import read_catalogue
from gr2.data.features import NAMES, load_features
from gr2.files.slates import read_slate_table, slates_of
from gr2.rerankers.degre.judge import Judge
from gr2.rerankers.degre.train_evaluator import collate as collate_shown
from gr2.rerankers.degre.train_evaluator import draw_lists, new_evaluator
from gr2.rerankers.degre.train_generator import (
    DeGReTrainer,
    GoalRankTrainer,
    add_lists,
    dense_loss,
    draw_group,
    mine_lists,
)
from gr2.rerankers.degre.train_generator import collate as collate_examples
from gr2.rerankers.list_writer.batch import canonical_order, to_request
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import SPACES
from gr2.rerankers.list_writer.train import collate, ndcg, new_network, reference_lists, requests_of
from gr2.rerankers.list_writer.train_glorank import CloningTrainer, ReinforcementTrainer, group_advantages
from gr2.rerankers.prm.network import PRM, PRMConfig, encode
from gr2.rerankers.prm.train import collate as collate_prm
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples, make_arguments
from gr2.stages import rerank
from tests.helpers import fit

WEIGHTS = {"alpha": 1.0, "tau_w": 0.1, "tau_q": 0.1}


@pytest.fixture
def training(tmp_path):
    return Training(
        str(tmp_path / "out"),
        seed=0,
        hidden_size=8,
        layers=1,
        dropout=0.2,
        learning_rate=1e-3,
        batch_size=32,
        epochs=60,
        patience=8,
    )


@pytest.fixture
def lists(slates, catalogue):
    return Lists(slates, slates, catalogue, list_size=2, history=4)


@pytest.fixture
def catalogue(world):
    return read_catalogue(world.items, world.semantic_ids)


@pytest.fixture
def slates(later):
    """Six of them, of twelve, eleven, ... candidates."""
    made = [slate for slate in slates_of(read_slate_table(later)) if slate.split == "test"][:6]
    shorter = [slate.reordered(range(length)) for slate, length in zip(made, range(12, 6, -1), strict=True)]
    return [replace(slate, labels=[1.0, *slate.labels[1:]]) for slate in shorter]


@pytest.fixture
def inputs(slates, catalogue):
    return collate(slates, catalogue, 4)


@pytest.fixture
def features(world):
    return load_features(world.items, world.interactions, world.embeddings)


@pytest.fixture
def evaluator(lists, training):
    torch.manual_seed(0)
    return new_evaluator(lists, training, NAMES, torch.randn(len(lists.catalogue.item_ids), 3)).eval()


@pytest.fixture
def reader(evaluator, features, catalogue):
    return Judge(evaluator, features).reader(catalogue, 4)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sampled", [False, True])
def test_lists_are_written_and_scored_there(space, sampled, lists, training, inputs):
    torch.manual_seed(0)
    model = new_network(space, lists, training).eval()
    requests = requests_of(inputs)

    def written():
        with torch.no_grad():
            encoded = model.encode(requests).repeat(2)
            chosen = write_lists(model, encoded, 2, torch.Generator("cpu").manual_seed(0) if sampled else None)
            return chosen, to_request(chosen, encoded.order), model.log_probs(encoded, chosen)

    here = written()
    with torch.device("meta"):
        there = written()
    for one, other in zip(here, there, strict=True):
        assert_close(other, one)


def test_rewards_and_references_are_counted_there(inputs):
    labels, requests = inputs["labels"], requests_of(inputs)

    def found():
        references = reference_lists(labels, requests.mask, 3)
        value = ndcg(labels, references)
        return canonical_order(requests.candidates), references, value, group_advantages(value, 2)

    here = found()
    with torch.device("meta"):
        there = found()
    assert_close(list(there), list(here))


@pytest.mark.parametrize("by", ["evaluator", "labels", "both"])
def test_lists_are_mined_and_drawn_there(by, slates, inputs, evaluator, reader):
    seen, labels = reader.read(reader.add_features(slates)), inputs["labels"]
    judge = Judge() if by == "labels" else Judge(evaluator, label_weight=0.5 if by == "both" else 0.0)

    def found():
        torch.manual_seed(0)
        with torch.no_grad():
            mined = mine_lists(seen, labels, judge, 2, 3)
            drawn = draw_group(seen, labels, judge, 2, 3)
            values = mined.values.flatten(0, 1)
            left = seen.mask.repeat_interleave(3, 0)[:, None].expand_as(values)
            logp = torch.zeros_like(values).log_softmax(2)
            loss = dense_loss(logp, mined.lists.flatten(0, 1), values, left, 1.0, 0.1)
            return *mined, *drawn, judge.scores(seen, labels, mined.lists), loss

    here = found()
    with torch.device("meta"):
        there = found()
    assert_close(list(there), list(here))


def trained_and_judged(trainer, inputs) -> list[torch.Tensor]:
    """The loss of a training step, its gradients, and what validation measures."""
    torch.manual_seed(0)
    loss = trainer.compute_loss(trainer.model.train(), inputs)
    loss.backward()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    with torch.no_grad():
        return [loss.detach(), *gradients, trainer.prediction_step(trainer.model.eval(), inputs, False)[1]]


def step_of(trainer, inputs) -> list[torch.Tensor]:
    trainer.model.zero_grad()
    with torch.device("meta"):
        there = trained_and_judged(trainer, inputs)
    trainer.model.zero_grad()
    assert_close(there, trained_and_judged(trainer, inputs))
    return there


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("trainer", [CloningTrainer, ReinforcementTrainer])
def test_a_step_of_glorank_runs_there(trainer, space, slates, lists, training, inputs):
    model = new_network(space, lists, training)
    arguments = make_arguments(training, "ndcg", ["labels"])
    others = {"group": 3, "utility": ndcg} if trainer is ReinforcementTrainer else {}
    data = {"train_dataset": Examples(slates), "eval_dataset": Examples(slates)}
    step_of(trainer(model, arguments, **data, **others), inputs)


@pytest.mark.parametrize("trainer", [DeGReTrainer, GoalRankTrainer])
def test_a_step_of_degre_and_goalrank_runs_there(trainer, slates, lists, training, evaluator, reader):
    judge = Judge(evaluator, reader.features, 0.5)
    if trainer is DeGReTrainer:
        find, weights = partial(mine_lists, judge=judge, size=2, beams=3), WEIGHTS
    else:
        find, weights = partial(draw_group, judge=judge, size=2, group=3), {}
    examples = add_lists(slates, find, reader)
    write = partial(collate, catalogue=lists.catalogue, history=4)
    train, valid = (collate_examples(some, write, reader) for some in (examples, reader.add_features(slates)))
    model, arguments = new_network("pointer", lists, training), make_arguments(training, "score", ["labels"])
    data = {"train_dataset": Examples(examples), "eval_dataset": Examples(slates)}
    step_of(trainer(model, arguments, **data, judge=judge, **weights), train | valid)


def test_a_step_of_the_evaluator_runs_there(slates, evaluator, reader):
    shown = [draw_lists(known, 2, 3, seed) for seed, known in enumerate(reader.add_features(slates))]
    inputs = collate_shown(shown, reader, 2)
    with torch.device("meta"):
        there = evaluator(**inputs)
    assert_close(there, evaluator(**inputs))


@pytest.mark.parametrize("with_features", [False, True])
def test_a_step_of_prm_runs_there(slates, features, with_features):
    model = PRM(PRMConfig(vector_size=16, features=with_features, hidden_size=8)).eval()
    inputs = collate_prm(encode(slates, features, model.config), features.vectors)
    with torch.device("meta"):
        there = model(**inputs)
    assert_close(there, model(**inputs))


def test_the_evaluator_goes_where_the_writer_trains(slates, lists, training, evaluator):
    """The Trainer moves the network; the evaluator that judges its lists must follow."""
    model, arguments = new_network("pointer", lists, training), make_arguments(training, "score", ["labels"])
    data = {"train_dataset": Examples(slates), "eval_dataset": Examples(slates)}
    evaluator.to("meta")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # it is moved to the CPU, here
        DeGReTrainer(model, arguments, **data, judge=Judge(evaluator), **WEIGHTS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_kind_is_fitted_on_a_gpu_and_ranks(world, later, tmp_path):
    known = {
        "items": world.items,
        "semantic_ids": world.semantic_ids,
        "slates": later,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
    }
    small = {"hidden_size": 16, "epochs": 2, "batch_size": 16}
    lists, evaluator = small | {"list_size": 2}, {"evaluator": str(tmp_path / "evaluator")}
    runs = {"blend": ("blend", {}), "lambdamart": ("lambdamart", {}), "prm": ("prm", small)}
    runs["prm with features"] = ("prm", small | {"features": True})
    runs |= {kind: (kind, lists) for kind in ("glorank", "evaluator", "degre", "goalrank")}
    runs |= {space: ("glorank", lists | {"space": space}) for space in ("place", "pointer")}
    runs |= {f"{kind} judged": (kind, lists | evaluator) for kind in ("degre", "goalrank")}
    runs["reinforced"] = ("glorank", {"epochs": 2, "model_name_or_path": str(tmp_path / "glorank")})
    for name, (kind, options) in runs.items():
        fit(kind, tmp_path / name, known, **options)
        if name != "evaluator":
            rerank.run(rerank.Config(reranker=str(tmp_path / name), output_dir=str(tmp_path / "ranks"), **known))
            assert pl.read_parquet(tmp_path / "ranks/rankings.parquet")["valid"].all()
