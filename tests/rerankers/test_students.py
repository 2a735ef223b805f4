"""Students of another reranker: PRM and the pointer learn rankings of train slates."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gr2.errors import InputError
from gr2.files.slates import read_slates
from gr2.rerankers.degre.inputs import EvaluatorInput
from gr2.rerankers.degre.train_generator import copy_lists
from gr2.rerankers.list_writer.batch import NONE
from gr2.stages import rerank, slates
from tests.helpers import fit, save_model


@pytest.fixture(scope="module")
def known(world, tmp_path_factory) -> dict[str, str]:
    """Slates of twenty films; those of train without their target are kept."""
    folder = tmp_path_factory.mktemp("slates")
    slates.run(
        slates.Config(
            items=world.items,
            interactions=world.interactions,
            output_dir=str(folder),
            pre_ranker=["popularity"],
            exclude_seen=False,
            keep_missed=True,
            candidates=20,
        )
    )
    return {
        "items": world.items,
        "slates": str(folder / "slates.parquet"),
        "semantic_ids": world.semantic_ids,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
    }


def answered(reranker: str, folder, known, split: str) -> str:
    rerank.run(rerank.Config(reranker=reranker, output_dir=str(folder), split=split, **known))
    return str(folder / "rankings.parquet")


@pytest.fixture(scope="module")
def teacher(known, tmp_path_factory) -> dict[str, str]:
    """Rankings of a blend by split; `orders`: those of train without scores."""
    root = tmp_path_factory.mktemp("teacher")
    fit("blend", root / "blend", known)
    made = {split: answered(str(root / "blend"), root / split, known, split) for split in ("train", "test")}
    pl.read_parquet(made["train"]).drop("scores").write_parquet(root / "orders.parquet")
    return {**made, "orders": str(root / "orders.parquet")}


def agreement(first: str, second: str) -> float:
    """Share of pairs of candidates that two rankings have in the same order."""
    joined = pl.read_parquet(first).join(pl.read_parquet(second), on="slate_id")
    shares = []
    for one, other in joined.select("ranking", "ranking_right").iter_rows():
        places = np.array([other.index(item) for item in one])
        shares.append((places[:, None] < places)[np.triu_indices(len(places), 1)].mean())
    return float(np.mean(shares))


@pytest.mark.parametrize(("rankings", "least"), [("train", 0.7), ("orders", 0.8)])
def test_prm_learns_a_teachers_order_from_slates_with_and_without_a_target(
    known, teacher, tmp_path, capsys, rankings, least
):
    small = {"hidden_size": 16, "epochs": 12, "learning_rate": 1e-2, "features": True, "patience": 12}
    fit("prm", tmp_path / "student", known, teacher=teacher[rankings], **small)
    assert f"200 train slates as {teacher[rankings]} ranks them" in capsys.readouterr().out
    test = answered(str(tmp_path / "student"), tmp_path / "test", known, "test")
    given = answered("input_order", tmp_path / "given", known, "test")
    assert agreement(teacher["test"], test) > least > agreement(teacher["test"], given)


def test_a_student_learns_what_it_is_told_of_labels(known, teacher, tmp_path):
    """A teacher that puts the target last: half of the loss each, and the student finds it all the same or not."""
    table = pl.read_parquet(known["slates"]).filter(pl.col("split") == "train")
    rows = table.select("candidates", "labels").iter_rows()
    scores = [[-float(label) for label in labels] for _, labels in rows]
    table.select("slate_id", pl.col("candidates").alias("ranking"), pl.lit(True).alias("valid")).with_columns(
        pl.Series("scores", scores)
    ).write_parquet(tmp_path / "rankings.parquet")
    from gr2.data.teacher_rankings import read_teacher_slates

    train = [slate for slate in read_slates(known["slates"], split="train") if any(slate.labels)]
    for weight, sign in ((1.0, -1), (0.5, 1)):
        taught = read_teacher_slates(str(tmp_path / "rankings.parquet"), train, 1.0, weight)
        for slate, own in zip(train, taught, strict=True):
            assert sign * (own.labels[slate.labels.index(1)] - 1 / 20) > 0


def test_without_a_valid_split_the_users_that_are_held_out_are_not_taught(known, teacher, tmp_path, capsys):
    frame = pl.read_parquet(known["slates"]).filter(pl.col("split") == "train")
    frame.write_parquet(tmp_path / "slates.parquet")
    given = known | {"slates": str(tmp_path / "slates.parquet")}
    fit("prm", tmp_path / "student", given, teacher=teacher["train"], hidden_size=8, epochs=1)
    held = frame.filter(pl.col("labels").list.max() > 0)["user_id"].n_unique() // 10
    assert f"{200 - 5 * held} train slates as" in capsys.readouterr().out and held > 0


def test_the_pointers_list_and_values_by_hand():
    labels = torch.tensor([[0.2, 0.7, 0.1], [0.4, 0.6, 0.0]])
    candidates = torch.tensor([[1, 2, 3], [1, 2, NONE]])
    found = copy_lists(
        EvaluatorInput(torch.zeros(2, 1, dtype=torch.int64), candidates, torch.zeros(2, 3, 0)), labels, 4
    )
    assert found.lists.tolist() == [[[1, 0, 2, NONE]], [[1, 0, NONE, NONE]]]
    assert found.scores.tolist() == [[0.0], [0.0]] and found.values.shape == (2, 1, 4, 3)
    left = found.values[0, 0, 1][[0, 2]].softmax(0)  # once the second candidate is chosen
    assert left.tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-5)


@pytest.mark.slow
def test_a_pointer_learns_a_teachers_lists(known, teacher, tmp_path):
    small = {"hidden_size": 32, "list_size": 6, "epochs": 30, "patience": 30, "learning_rate": 3e-3, "batch_size": 16}
    fit("degre", tmp_path / "student", known, teacher=teacher["train"], **small)
    test = answered(str(tmp_path / "student"), tmp_path / "test", known, "test")
    given = answered("input_order", tmp_path / "given", known, "test")
    assert agreement(teacher["test"], test) > 0.05 + agreement(teacher["test"], given)


def test_two_that_say_what_lists_are_worth_are_refused(known, teacher, tmp_path):
    with pytest.raises(InputError, match="fit degre: expected --evaluator or --teacher, found both"):
        fit("degre", tmp_path / "no", known, teacher=teacher["train"], evaluator="folder")


def test_rankings_of_another_split_teach_nothing(known, teacher, tmp_path):
    with pytest.raises(InputError, match=r"expected usable rankings of train slates \(`--split train`\), found none"):
        fit("prm", tmp_path / "no", known, teacher=teacher["test"])


@pytest.fixture(scope="module")
def opinionated(beginner, tmp_path_factory) -> str:
    """A language model that has learned nothing but is sure of what it likes: the beginner with larger rows."""
    folder = tmp_path_factory.mktemp("opinionated")
    tokenizer = AutoTokenizer.from_pretrained(beginner)
    model = AutoModelForCausalLM.from_pretrained(beginner)
    model.get_output_embeddings().weight.data *= 30
    save_model(model, tokenizer, folder)
    shutil.copy(beginner / "semantic_ids.json", folder)
    return str(folder)


@pytest.mark.parametrize("order", ["choices", "first"])
def test_a_pointer_learns_a_language_models_choices(world, later, opinionated, tmp_path, order):
    """On the slates that it was taught, its lists are the teacher's, which has never seen a label."""
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    asked = {"reranker": opinionated, "order": order, "prompt": "student_no_trace", "split": "train"}
    rerank.run(rerank.Config(output_dir=str(tmp_path / "teacher"), alone=0, batch_size=16, **asked, **known))
    given = str(tmp_path / "teacher/rankings.parquet")
    assert pl.read_parquet(given)["valid"].all()
    small = {"hidden_size": 32, "list_size": 3, "epochs": 12, "patience": 12, "learning_rate": 5e-3, "batch_size": 8}
    shares = {}
    for name, options in {"taught": {"teacher": given}, "labels": {}}.items():
        fit("degre", tmp_path / name, known, **small, **options)
        found = pl.read_parquet(answered(str(tmp_path / name), tmp_path / f"{name}_lists", known, "train"))
        both = found.join(pl.read_parquet(given), on="slate_id").select("ranking", "ranking_right").iter_rows()
        shares[name] = np.mean([len({*one[:3]} & {*other[:3]}) / 3 for one, other in both])
    assert shares["taught"] > 0.6 > 0.4 > shares["labels"], shares
