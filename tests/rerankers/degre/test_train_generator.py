import json
from math import inf

import numpy as np
import pytest
import torch

from gr2.data.catalogue import read_catalogue
from gr2.data.features import NAMES
from gr2.errors import InputError
from gr2.files.items import order_digest
from gr2.files.slates import Slate, read_slate_table, slates_of
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.inputs import InputReader, SlateFeatures
from gr2.rerankers.degre.lookahead import score_lists
from gr2.rerankers.degre.train_evaluator import draw_lists, measure_quality
from gr2.rerankers.degre.train_generator import dense_loss
from gr2.rerankers.list_writer.batch import NONE, read_labels, read_requests, to_request
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import ListWriter
from gr2.retrieval.sasrec import SASRec, SASRecConfig
from gr2.training import LOG
from tests.forking import forked
from tests.helpers import fit, gr2, resumed_after_a_kill
from tests.helpers import list_writer_words as words


@pytest.fixture(scope="module")
def evaluator(world, later, tmp_path_factory):
    folder = tmp_path_factory.mktemp("degre") / "evaluator"
    forked("fit", "evaluator", "--output_dir", folder, *words(world, later))
    return folder


def logged(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.slow
def test_the_evaluator_tells_good_lists_and_generators_learn_to_write_them(world, later, evaluator, tmp_path):
    evaluations = [entry for entry in logged(evaluator) if "eval_auc" in entry]
    assert max(entry["eval_auc"] for entry in evaluations) > 0.7
    assert max(entry["eval_likelihood"] for entry in evaluations) > evaluations[0]["eval_likelihood"]
    slates = [slate for slate in slates_of(read_slate_table(later)) if slate.split == "test"]
    catalogue, model = read_catalogue(world.items, world.semantic_ids), Evaluator.from_pretrained(evaluator).eval()
    requests, reader = (
        read_requests(slates, catalogue, model.config.history),
        InputReader(catalogue, model.config.history),
    )
    seen, labels = reader.read(reader.add_features(slates)), read_labels(slates, requests.candidates.shape[1])
    with torch.no_grad():
        by = {"input": score_lists(model, seen, labels, torch.arange(2).expand(len(slates), 1, -1)).mean()}
        for kind in ("degre", "goalrank"):
            forked("fit", kind, "--output_dir", tmp_path / kind, *words(world, later, evaluator=evaluator))
            writer = ListWriter.from_pretrained(tmp_path / kind).eval()
            encoded = writer.encode(requests)
            lists = to_request(write_lists(writer, encoded, 2), encoded.order)
            by[kind] = score_lists(model, seen, labels, lists[:, None]).mean()
    assert by["degre"] > by["goalrank"] > by["input"] + 0.1
    forked("rerank", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", later, "--reranker",
           tmp_path / "degre", "--output_dir", tmp_path / "answers")  # fmt: skip
    gr2("evaluate", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", later, "--list_size", "2",
        "--evaluator", evaluator, "--rankings", f"degre={tmp_path}/answers/rankings.parquet",
        "--output_dir", tmp_path / "report")  # fmt: skip
    found = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert found["agreement"]["lists"] == 132 and found["agreement"]["evaluator_auc"] > 0.6
    near = {name: system["hr@10%"] for name, system in found["systems"].items()}
    assert near["degre"] > 0.8 > 0.3 > near["random"] and near["degre"] >= found["systems"]["degre"]["hr@1%"]
    assert found["intervals"]["degre"]["hr@1%"][0] is not None
    assert "HR@p %" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
def test_a_killed_training_of_either_goes_on_to_the_same_bytes(world, later, evaluator, tmp_path):
    resumed_after_a_kill("fit evaluator", tmp_path / "evaluator", words(world, later, hidden_size=8, epochs=4))
    resumed_after_a_kill(
        "fit degre", tmp_path / "degre", words(world, later, evaluator=evaluator, hidden_size=8, epochs=4)
    )


def test_the_dense_loss_by_hand():
    logp = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.6, 0.0]]]).clamp(min=1e-30).log()
    lists, left = torch.tensor([[2, 0]]), torch.tensor([[[True, True, True], [True, True, False]]])
    values = torch.tensor([[[1.0, 1.0, 1.0], [2.0, 1.0, 9.0]]])
    assert dense_loss(logp, lists, values, left, 0.0, 1.0).item() == pytest.approx(-np.log(0.2) - np.log(0.4), rel=1e-5)
    first = sum(1 / 3 * np.log(1 / 3 / p) for p in (0.5, 0.3, 0.2))
    q = np.exp([2, 1]) / np.exp([2, 1]).sum()
    second = q[0] * np.log(q[0] / 0.4) + q[1] * np.log(q[1] / 0.6)
    expected = -np.log(0.2) - np.log(0.4) + 0.5 * (first + second)
    assert dense_loss(logp, lists, values, left, 0.5, 1.0).item() == pytest.approx(expected, rel=1e-4)
    ended = dense_loss(logp, torch.tensor([[2, NONE]]), values, left, 0.5, 1.0).item()
    assert ended == pytest.approx(-np.log(0.2) + 0.5 * first, rel=1e-4)


def test_quality_by_hand():
    said, came = np.array([[0.9, 0.2], [0.6, 0.1], [0.3, 0.0]]), np.array([2, 0, 1])
    found = measure_quality(said, came)
    # V >= 1 in the first and third list: one of two pairs in order; V >= 2 in the first: both.
    assert found["auc"] == pytest.approx((0.5 + 1.0) / 2)
    right = [0.9, 0.4, 0.3, 0.2, 0.9, 1.0]
    assert found["likelihood"] == pytest.approx(np.log(right).mean(), abs=1e-6)
    # bins of ten: 0.9|1, 0.6|0, 0.3|1, 0.2|1, 0.1|0, 0.0|0
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.7 + 0.8 + 0.1 + 0.0) / 6)


def test_lists_as_shown_are_random_orders_of_the_slate_that_its_seed_decides():
    known = SlateFeatures(Slate("s", [], list("abcdef")), np.zeros((6, 0)))
    same = [draw_lists(known, 4, 3, seed).lists for seed in (7, 7, 8)]
    assert same[0] == same[1] != same[2]
    rows = draw_lists(known, 4, 600, 0).lists
    assert all(len(row) == len(set(row)) == 4 and set(row) <= set(range(6)) for row in rows)
    assert all(60 < count < 140 for count in np.bincount([row[0] for row in rows], minlength=6))
    assert len(draw_lists(known, 9, 1, 0).lists[0]) == 6


@pytest.mark.slow
def test_an_evaluator_of_other_lists_is_refused_and_labels_can_stand_in(world, later, evaluator, tmp_path):
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids, "epochs": 1, "hidden_size": 16}
    with pytest.raises(InputError, match="list_size is 2; expected 3"):
        fit("degre", tmp_path / "wrong", known, list_size=3, evaluator=str(evaluator))
    fit("degre", tmp_path / "labels", known, list_size=2, tau_w=inf)
    assert ListWriter.from_pretrained(tmp_path / "labels").config.space == "pointer"


@pytest.fixture(scope="module")
def informed(world, later, tmp_path_factory) -> dict[str, str]:
    """What degre is told, with an evaluator that reads features and vectors and has learned next to nothing."""
    root = tmp_path_factory.mktemp("informed")
    item_ids = read_catalogue(world.items, world.semantic_ids).item_ids
    SASRec(SASRecConfig(len(item_ids), 8, 1, 2, items_digest=order_digest(item_ids))).save_pretrained(root / "sasrec")
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    known |= {"interactions": world.interactions, "embeddings": world.embeddings}
    small = {"hidden_size": 16, "list_size": 2, "epochs": 1, "features": True, "vectors": str(root / "sasrec")}
    fit("evaluator", root / "evaluator", known, **small)
    return known | {"evaluator": str(root / "evaluator")}


def test_where_the_evaluator_knows_little_labels_help(informed, tmp_path):
    """Precision on the slates that were learned, by the labels' share."""
    slates = [slate for slate in slates_of(read_slate_table(informed["slates"])) if slate.split == "train"]
    catalogue, precision = read_catalogue(informed["items"], informed["semantic_ids"]), {}
    small = {"hidden_size": 32, "list_size": 2, "epochs": 15, "patience": 15, "learning_rate": 5e-3, "batch_size": 16}
    for weight in (0.0, 0.5):
        fit("degre", tmp_path / f"{weight}", informed, label_weight=weight, beams=3, **small)
        writer = ListWriter.from_pretrained(tmp_path / f"{weight}").eval()
        with torch.no_grad():
            encoded = writer.encode(read_requests(slates, catalogue, writer.config.history))
            lists = to_request(write_lists(writer, encoded, 2), encoded.order)
        labels = read_labels(slates, encoded.mask.shape[1])
        precision[weight] = (labels.gather(1, lists) > 0).float().mean().item()
    assert precision[0.5] > 0.6 > 0.4 > precision[0.0], precision


def test_an_evaluator_is_told_what_it_reads(informed, tmp_path):
    model = Evaluator.from_pretrained(informed["evaluator"])
    assert model.config.features == list(NAMES) and model.config.vector_size == 8
    assert model.vectors.std().item() == pytest.approx(1, rel=0.1) and model.mean.abs().sum() > 0
    without = informed | {"embeddings": None}
    with pytest.raises(InputError, match="it reads features; expected --interactions and --embeddings"):
        fit("degre", tmp_path / "no", without, list_size=2)
    with pytest.raises(InputError, match="expected --interactions and --embeddings with --features true"):
        fit("evaluator", tmp_path / "no", without, list_size=2, features=True)
    assert not (tmp_path / "no").exists()
