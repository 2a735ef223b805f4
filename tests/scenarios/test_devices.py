"""Small rerankers run where the Trainer moves them.

With torch's `meta` device as the default, a tensor that is made without `device=` lands on meta and meets the inputs' device,
the CPU, which raises as CPU and CUDA would.
"""

import polars as pl
import pytest
import torch
from torch.testing import assert_close

from gr2.data.catalogue import read_catalogue
from gr2.data.features import load_features
from gr2.rerankers import prm_train
from gr2.rerankers.degre import fit_evaluator, fit_generator
from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.fit_generator import Dense, Goal, dense, group
from gr2.rerankers.degre.lookahead import Labels, Lookahead, score
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.glorank import Cloned, Reinforced, group_advantages
from gr2.rerankers.list_writer import train as fitting
from gr2.rerankers.list_writer.batch import NONE, Requests, canonical
from gr2.rerankers.list_writer.decode import in_request_order, repeated, write
from gr2.rerankers.list_writer.network import SPACES
from gr2.rerankers.prm import PRM, PRMConfig
from gr2.rerankers.training import Slates, arguments
from gr2.stages import fit, rerank

KINDS = ("blend", "lambdamart", "prm", "glorank", "evaluator", "degre", "goalrank")


@pytest.fixture
def config(world, later, tmp_path):
    return fit.Config(items=world.items, semantic_ids=world.semantic_ids, slates=later, output_dir=str(tmp_path / "out"),
                      kind="degre", list_size=2, history=4, hidden_size=8, layers=1, dropout=0.2, beams=3, group=3)  # fmt: skip


@pytest.fixture
def catalogue(world):
    return read_catalogue(world.items, world.semantic_ids)


@pytest.fixture
def slates(later):
    """Six of them, of twelve, eleven, ... candidates."""
    made = pl.read_parquet(later).filter(pl.col("split") == "test").head(6).to_dicts()
    lengths = range(12, 6, -1)
    return [slate | {name: slate[name][:length] for name in ("candidates", "labels", "scores")}
            | {"labels": [1.0, *slate["labels"][1:length]]} for slate, length in zip(made, lengths, strict=True)]  # fmt: skip


@pytest.fixture
def inputs(slates, catalogue):
    return fitting.collate(slates, catalogue, 4)


@pytest.fixture
def evaluator(slates, catalogue, config):
    torch.manual_seed(0)
    return Evaluator(EvaluatorConfig(**fitting.shape(slates, catalogue, config))).eval()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sampled", [False, True])
def test_lists_are_written_and_scored_there(space, sampled, slates, catalogue, config, inputs):
    torch.manual_seed(0)
    model = fitting.new_network(space, slates, catalogue, config).eval()
    asked = Requests(inputs["history"], inputs["candidates"])

    def written():
        with torch.no_grad():
            encoded = repeated(model.encode(asked), 2)
            lists = write(model, encoded, 2, torch.Generator("cpu").manual_seed(0) if sampled else None)
            return lists, in_request_order(lists, encoded), model.log_probs(encoded, lists)

    here = written()
    with torch.device("meta"):
        there = written()
    for one, other in zip(here, there, strict=True):
        assert_close(other, one)


def test_rewards_and_references_are_counted_there(inputs):
    labels, present = inputs["labels"], inputs["candidates"][..., 0] != NONE

    def found():
        lists = fitting.references(labels, present, 3)
        worth = fitting.utility(labels, lists)
        return canonical(inputs["candidates"]), lists, worth, group_advantages(worth, 2)

    here = found()
    with torch.device("meta"):
        there = found()
    assert_close(list(there), list(here))


@pytest.mark.parametrize("by", ["evaluator", "labels"])
def test_lists_are_mined_and_drawn_there(by, inputs, config, evaluator):
    asked, labels = Requests(inputs["history"], inputs["candidates"]), inputs["labels"]
    judge = evaluator if by == "evaluator" else None

    def found():
        torch.manual_seed(0)
        with torch.no_grad():
            ahead = Lookahead(judge, asked) if judge else Labels(labels)
            mined = mine(ahead, asked.there, 2, 3)
            drawn = group(judge, asked, labels, config)
            values = mined.values.flatten(0, 1)
            left = asked.there.repeat_interleave(3, 0)[:, None].expand_as(values)
            logp = torch.zeros_like(values).log_softmax(2)
            lost = dense(logp, mined.lists.flatten(0, 1), values, left, 1.0, 0.1)
            return *mined, *drawn, score(judge, asked, labels, mined.lists), lost

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
@pytest.mark.parametrize("stage", [Cloned, Reinforced])
def test_a_step_of_glorank_runs_there(stage, space, slates, catalogue, config, inputs):
    model = fitting.new_network(space, slates, catalogue, config)
    options = arguments(config, "ndcg", ["labels"])
    others = {"group": 3} if stage is Reinforced else {}
    step_of(stage(model, options, train_dataset=Slates(slates), eval_dataset=Slates(slates), **others), inputs)


@pytest.mark.parametrize("stage", [Dense, Goal])
def test_a_step_of_degre_and_goalrank_runs_there(stage, slates, catalogue, config, evaluator):
    find = group if stage is Goal else fit_generator.mined
    taught = fit_generator.with_lists(slates, find, evaluator, catalogue, config)
    inputs = fit_generator.collate(taught, catalogue, 4)
    model, options = fitting.new_network("pointer", slates, catalogue, config), arguments(config, "score", ["labels"])
    data = {"train_dataset": Slates(taught), "eval_dataset": Slates(slates)}
    step_of(stage(model, options, **data, evaluator=evaluator, options=config), inputs)


def test_a_step_of_the_evaluator_runs_there(slates, catalogue, config, evaluator):
    shown = [fit_evaluator.listed(slate, 2, 3, number) for number, slate in enumerate(slates)]
    inputs = fit_evaluator.collate(shown, catalogue, 4, 2)
    with torch.device("meta"):
        there = evaluator(**inputs)
    assert_close(there, evaluator(**inputs))


@pytest.mark.parametrize("features", [False, True])
def test_a_step_of_prm_runs_there(world, slates, features):
    known = load_features(world.items, world.interactions, world.embeddings)
    model = PRM(PRMConfig(vector_size=16, features=features, hidden_size=8)).eval()
    inputs = prm_train.collate([prm_train.labelled(slate, known, model.config) for slate in slates], known.vectors)
    with torch.device("meta"):
        there = model(**inputs)
    assert_close(there, model(**inputs))


def test_the_evaluator_goes_where_the_writer_trains(slates, catalogue, config, evaluator):
    """The Trainer moves the network; the evaluator that judges its lists must follow."""
    model, options = fitting.new_network("pointer", slates, catalogue, config), arguments(config, "score", ["labels"])
    evaluator.to("meta")
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # it is moved to the CPU, here
        Dense(
            model,
            options,
            train_dataset=Slates(slates),
            eval_dataset=Slates(slates),
            evaluator=evaluator,
            options=config,
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_kind_is_fitted_on_a_gpu_and_ranks(world, later, tmp_path):
    known = {"items": world.items, "semantic_ids": world.semantic_ids, "slates": later,
             "interactions": world.interactions, "embeddings": world.embeddings}  # fmt: skip
    small = {"list_size": 2, "hidden_size": 16, "epochs": 2, "batch_size": 16}
    runs = {kind: small | {"kind": kind} for kind in KINDS}
    runs |= {space: runs["glorank"] | {"space": space} for space in ("place", "pointer")}
    runs |= {
        f"{kind} judged": runs[kind] | {"evaluator": str(tmp_path / "evaluator")} for kind in ("degre", "goalrank")
    }
    runs["prm with features"] = runs["prm"] | {"features": True}
    runs["reinforced"] = {"kind": "glorank", "epochs": 2, "model_name_or_path": str(tmp_path / "glorank")}
    for name, options in runs.items():
        fit.run(fit.Config(output_dir=str(tmp_path / name), **known, **options))
        if name != "evaluator":
            rerank.run(rerank.Config(reranker=str(tmp_path / name), output_dir=str(tmp_path / "ranks"), **known))
            assert pl.read_parquet(tmp_path / "ranks/rankings.parquet")["valid"].all()
