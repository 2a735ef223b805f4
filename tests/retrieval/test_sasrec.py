import json
import random
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.retrieval.positions import read_events
from gr2.retrieval.sasrec import CHUNK, IGNORED, CatalogueLoss, SASRec, SASRecConfig, ranker
from gr2.retrieval.sasrec_train import collate, cut_stretches, pack, pretrain_items, split_users, valid_rows
from gr2.stages import sasrec, slates
from gr2.training import LOG
from tests.forking import forked
from tests.helpers import refused, resumed_after_a_kill
from tests.retrieval.arrays import flat, lists

N_ITEMS = 12


@pytest.fixture(scope="module")
def model():
    """Untrained, of two layers, with answers that depend on all it reads."""
    torch.manual_seed(0)
    made = SASRec(SASRecConfig(N_ITEMS, 16, 2, 2, length=10)).eval()
    for parameter in made.parameters():
        parameter.data.normal_(std=0.5)
    return made


def states(model, *rows):
    """The states of rows of (items, place), padded to one length."""
    labelled = [(np.array(items), np.array(place), np.array(items)) for items, place in rows]
    batch = collate(labelled)
    with torch.inference_mode():
        return model.encode(batch["items"], batch["place"])


def in_place(items):
    return items, range(len(items))


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("upstream", [1.0, 0.25])
def test_the_loss_and_its_gradients_are_those_of_cross_entropy(n, upstream):
    generator = torch.Generator().manual_seed(n)
    states, table = (torch.randn(rows, 9, generator=generator, dtype=torch.float64) for rows in (n, 33))
    target = torch.randint(33, (n,), generator=generator)
    found = []
    for loss in (
        lambda s, t: CatalogueLoss.apply(s, t, target),
        lambda s, t: torch.nn.functional.cross_entropy(s @ t.T, target),
    ):
        own = states.clone().requires_grad_(), table.clone().requires_grad_()
        value = loss(*own)
        (upstream * value).backward()
        found.append((value.detach(), own[0].grad, own[1].grad))
    torch.testing.assert_close(found[0], found[1])


def test_the_gradients_of_the_loss_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    states, table = (torch.randn(n, 4, generator=generator, dtype=torch.float64, requires_grad=True) for n in (6, 5))
    target = torch.tensor([0, 4, 2, 2, 1, 0])
    assert torch.autograd.gradcheck(lambda s, t: CatalogueLoss.apply(s, t, target), (states, table))


def test_training_and_evaluation_have_the_same_loss(model):
    rows = valid_rows([np.array([1, 2, 3, 7]), np.array([4, 0])], 10)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
            module.p, module.dropout = 0.0, 0.0
    training = model(**collate(rows))["loss"].item()
    model.eval()
    assert training == pytest.approx(model(**collate(rows))["loss"].item(), rel=1e-5)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_rank_counts_the_better_items_and_leaves_out_what_was_seen_if_asked(model, monkeypatch, exclude_seen):
    monkeypatch.setattr(model.config, "exclude_seen", exclude_seen)
    pasts = [
        [1, 2, 3],
        [4],
        [5, 6, 5, 8, 9, 2],
        [0, 1, *([7, 8] * 6), 4],
    ]  # the last is longer than the ten that it reads
    rows = valid_rows([np.array([*items, label]) for items, label in zip(pasts, (7, 0, 11, 10), strict=True)], 10)
    with torch.inference_mode():
        ranks = model(**collate(rows))["rank"].tolist()
        for past, (items, place, labels, _), rank in zip(pasts, rows, ranks, strict=True):
            scores = model.scores(states(model, (items, place))[0, -1:])[0]
            better = {item for item in range(N_ITEMS) if scores[item] > scores[labels[-1]]}
            assert rank == len(better - set(past if exclude_seen else []))
        assert exclude_seen or {0, 1} & better  # seen, though no longer read
    assert any(ranks)


users = st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=25)
@given(users)
def test_users_in_one_row_do_not_see_each_other(model, rows):
    together = states(model, (np.concatenate(rows), np.concatenate([np.arange(len(row)) for row in rows])))[0]
    alone = torch.cat([states(model, in_place(row))[0] for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.lists(st.integers(0, N_ITEMS - 1), min_size=2, max_size=10), st.data())
def test_a_state_depends_on_what_came_before_alone(model, items, data):
    at = data.draw(st.integers(1, len(items) - 1))
    other = [*items[:at], *((item + 1) % N_ITEMS for item in items[at:])]
    first, second = states(model, in_place(items))[0], states(model, in_place(other))[0]
    torch.testing.assert_close(first[:at], second[:at], rtol=1e-4, atol=1e-5)
    assert (first[at:] - second[at:]).abs().amax(1).min() > 1e-3
    before = [(items[0] + 1) % N_ITEMS, *items[1:]]
    assert (states(model, in_place(before))[0, at] - first[at]).abs().max() > 1e-3  # and on all of it


@settings(max_examples=25)
@given(users)
def test_padding_changes_nothing(model, rows):
    longest = states(model, in_place(range(10)), *map(in_place, rows))[1:]
    assert longest.isfinite().all()
    for row, padded in zip(rows, longest, strict=True):
        torch.testing.assert_close(padded[: len(row)], states(model, in_place(row))[0], rtol=1e-4, atol=1e-5)


def test_the_ranker_lists_what_the_model_scores_best(model):
    """Pasts shorter and longer than the ten items that it reads, of two users."""
    long = [at * 5 % N_ITEMS for at in range(15)]
    queries = flat((long, [1, 9, 14]), ([3, 4], [1]))
    tops = {exclude_seen: lists(ranker(model, 4, exclude_seen)(queries)) for exclude_seen in (True, False)}
    for number, past in enumerate((long[:1], long[:9], long[4:14], [3])):
        with torch.inference_mode():
            scores = model.scores(states(model, in_place(past))[0, -1:])[0].numpy()
        whole = queries.items[queries.start[number] : queries.at[number]]
        order = np.argsort(-scores)
        expected = {True: [item for item in order if item not in whole][:4], False: order[:4].tolist()}
        for exclude_seen, top in tops.items():
            assert [item for item, _ in top[number]] == expected[exclude_seen]
            assert [score for _, score in top[number]] == pytest.approx(scores[expected[exclude_seen]], rel=1e-4)


def test_saved_and_read_again_it_gives_the_same_scores(model, tmp_path):
    model.save_pretrained(tmp_path)
    read = SASRec.from_pretrained(tmp_path)
    assert read.config.to_dict() | {"_name_or_path": ""} == model.config.to_dict()
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, read.state_dict()[name]), name
    queries = flat((list(range(10)), [3, 9]))
    for one, other in zip(ranker(model, 5, True)(queries), ranker(read, 5, True)(queries), strict=True):
        assert (one == other).all()


histories = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(0, N_ITEMS - 1), max_size=15), min_size=1)


def events_of(made, split="pretrain"):
    """Numbered events of users' items."""
    rows = [(user, at, item, split) for user, items in sorted(made.items()) for at, item in enumerate(items)]
    schema = {"user_id": str, "position": int, "row": pl.Int32, "split": str}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(histories, st.integers(1, 6), st.integers(0, 3))
def test_packing_loses_no_transition_and_invents_none(made, length, seed):
    rows = pack(cut_stretches(pretrain_items(events_of(made)), length), length, random.Random(seed))
    found = []
    for items, place, labels in rows:
        assert 0 < len(items) == len(place) == len(labels) <= length
        for at in range(len(items)):
            found.append((items[at], labels[at]))
            assert place[at] == 0 or place[at] == place[at - 1] + 1
            assert place[at] == 0 or items[at] == labels[at - 1]  # one user's items, in order
        assert place[0] == 0
    expected = [pair for items in made.values() for pair in pairwise(items)]
    assert sorted(found) == sorted(expected)


def test_stretches_are_cut_from_the_end():
    rows = cut_stretches([np.arange(6)], 2)
    assert [(items.tolist(), place.tolist(), labels.tolist()) for items, place, labels in rows] == [
        ([3, 4], [0, 1], [4, 5]), ([1, 2], [0, 1], [2, 3]), ([0], [0], [1])
    ]  # fmt: skip


def test_only_pretrain_events_are_trained_on_and_validate():
    events = pl.concat(
        [
            events_of({"a": [0, 1, 2]}),
            events_of({"a": [3, 4]}, "train"),
            events_of({"a": [5, 6]}, "valid"),
            events_of({"a": [7]}, "test"),
            events_of({"b": [8, 9]}),
            events_of({"b": [10]}, "test"),
            events_of({"c": [11, 1]}, "valid"),
        ]
    )
    pasts = pretrain_items(events)
    assert [items.tolist() for items in pasts] == [[0, 1, 2], [8, 9]]
    learned, judges = split_users(pasts, 10, random.Random(0))
    assert [items.tolist() for items in learned] == [[0, 1], [8, 9]]
    assert [items.tolist() for items in judges] == [[0, 1, 2]]


def test_a_validation_row_asks_for_the_last_event_after_what_the_model_reads_of_the_past():
    ((items, place, labels, past),) = valid_rows([np.array([5, 6, 7, 8])], 2)
    assert (items.tolist(), place.tolist(), labels.tolist()) == ([6, 7], [0, 1], [IGNORED, 8])
    assert past.tolist() == [5, 6, 7]


@given(histories, st.integers(0, 8), st.integers(0, 3))
def test_what_validates_is_not_trained_on_and_everything_else_is(made, judges, seed):
    pasts = pretrain_items(events_of(made))
    learned, judged = split_users(pasts, judges, random.Random(seed))
    able = [items for items in pasts if len(items) >= 3]
    assert len(judged) == min(judges, len(able))
    held = 0
    for before, after in zip(pasts, learned, strict=True):
        assert after.tolist() in (before.tolist(), before[:-1].tolist())
        held += len(after) < len(before)
        assert len(after) == len(before) or len(after) >= 2
    assert held == len(judged) and all(any(own is items for own in able) for items in judged)
    another = split_users(pasts, judges, random.Random(seed))[1]
    assert [items.tolist() for items in another] == [items.tolist() for items in judged]


def words(world, **changed):
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "hidden_size": 16,
        "layers": 1,
        "heads": 2,
        "length": 16,
        "dropout": 0.1,
        "num_train_epochs": 40,
        "patience": 10,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 8,
        "exclude_seen": False,
        "disable_tqdm": True,
    } | changed
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


# Users of the world come back to films, so that what they have seen is not left out.
@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sasrec") / "model"
    forked("sasrec", "--output_dir", folder, *words(world))
    return folder


def listed(world, folder, **changed):
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "output_dir": str(folder),
        "exclude_seen": False,
    }
    slates.run(slates.Config(**options | changed))
    counts = read_json(folder / "slates_report.json")["splits"]["test"]
    return counts["slates"] / counts["positions"]


@pytest.mark.slow
def test_it_finds_the_next_item_more_often_than_popularity(world, trained, tmp_path):
    popular = listed(world, tmp_path / "a", pre_ranker=["popularity"])  # ten candidates
    assert listed(world, tmp_path / "b", pre_ranker=["sasrec"], sasrec=str(trained), candidates=3) > popular + 0.1


@pytest.mark.slow
def test_every_parameter_is_trained(world, trained):
    torch.manual_seed(42)  # the seed that transformers has
    read = SASRec.from_pretrained(trained)
    torch.manual_seed(42)
    begun = SASRec(read.config).state_dict()
    assert len(begun) == len(read.state_dict()) > 10
    for name, parameter in read.state_dict().items():
        assert (parameter - begun[name]).abs().max() > 1e-3, name
    assert (read.item.weight[0] == 0).all()  # padding


@pytest.mark.slow
def test_the_model_is_that_of_the_best_epoch(world, trained):
    log = [json.loads(line) for line in (trained / LOG).read_text().splitlines()]
    judged = [(entry["eval_ndcg@10"], entry["epoch"]) for entry in log if "eval_ndcg@10" in entry]
    best = max(value for value, _ in judged)
    assert best > judged[0][0] + 0.1
    assert judged[-1][0] < best  # else this test shows nothing
    events = read_events(world.items, world.interactions).events
    read = SASRec.from_pretrained(trained).eval()
    gains = []
    for past in pretrain_items(events):  # 40 users are fewer than may judge
        items = torch.from_numpy(past[:-1]).long()[None]
        with torch.inference_mode():
            scores = read.scores(read.encode(items, torch.arange(items.shape[1])[None])[:, -1])[0]
        rank = int((scores > scores[past[-1]]).sum())
        gains.append(1 / np.log2(rank + 2) if rank < 10 else 0)
    assert len(gains) == 40 and np.mean(gains) == pytest.approx(best, abs=1e-5)


@pytest.mark.slow
def test_the_folder_is_plain_and_complete(trained):
    files = {str(file.relative_to(trained)) for file in trained.rglob("*")}
    assert files == {"config.json", "model.safetensors", "training_log.jsonl", "manifest.json"}


SHORT = {"num_train_epochs": 2, "hidden_size": 8, "length": 8}


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(world, tmp_path):
    options = words(world, **SHORT | {"num_train_epochs": 8})
    resumed_after_a_kill("sasrec", tmp_path, options)


@pytest.mark.slow
def test_a_killed_training_is_as_patient_as_a_whole_one(world, tmp_path):
    """No epoch is better than the first: it stops after six more. The kill comes after the third to the sixth."""
    options = words(world, **SHORT | {"num_train_epochs": 12, "patience": 6, "learning_rate": 1e-9})
    for folder in resumed_after_a_kill(
        "sasrec", tmp_path, options, checkpoint="checkpoint-[2345]?"
    ):  # an epoch has 9 steps
        log = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        assert [entry["epoch"] for entry in log if "eval_ndcg@10" in entry] == [1, 2, 3, 4, 5, 6, 7]


def bytes_of(world, folder, interactions, **changed):
    options = SHORT | {"per_device_train_batch_size": 8, "learning_rate": 5e-3, "disable_tqdm": True} | changed
    sasrec.run(sasrec.Config(items=world.items, interactions=str(interactions), output_dir=str(folder), **options))
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_the_model_and_its_epoch_depend_on_pretrain_events_alone(world, tmp_path):
    """No event at which a slate is made later, train and valid ones included, has a say in which epoch is kept."""
    events = pl.read_parquet(world.interactions)
    later = events.filter(pl.col("split") != "pretrain")
    permuted = later.with_columns(later["item_id"].sample(fraction=1, shuffle=True, seed=0))
    pl.concat([events.filter(pl.col("split") == "pretrain"), permuted]).write_parquet(tmp_path / "future.parquet")
    options = {"num_train_epochs": 6}
    chosen = bytes_of(world, tmp_path / "a", world.interactions, **options)
    assert bytes_of(world, tmp_path / "b", tmp_path / "future.parquet", **options) == chosen
    judged = [(tmp_path / name / LOG).read_text().count("eval_ndcg") for name in "ab"]
    assert judged == [6, 6]
    last = (pl.col("split") == "pretrain") & (
        pl.col("split").shift(-1).over("user_id", order_by="position") != "pretrain"
    )
    events.with_columns(pl.when(last).then(pl.lit("film00")).otherwise("item_id").alias("item_id")).write_parquet(
        tmp_path / "judges.parquet"
    )
    untouched = {"load_best_model_at_end": False} | options
    plain = bytes_of(world, tmp_path / "c", world.interactions, **untouched)
    assert (
        bytes_of(world, tmp_path / "d", tmp_path / "judges.parquet", **untouched) == plain
    )  # what judges is not learned
    earlier = events.with_columns(
        pl.when(pl.col("position") < 3).then(pl.lit("film00")).otherwise("item_id").alias("item_id")
    )
    earlier.write_parquet(tmp_path / "earlier.parquet")
    assert (
        bytes_of(world, tmp_path / "e", tmp_path / "earlier.parquet", **untouched) != plain
    )  # pretrain events do matter


def test_events_without_anything_to_validate_on_are_refused(world, tmp_path):
    events = pl.read_parquet(world.interactions)
    events.filter((pl.col("split") != "pretrain") | (pl.col("position") < 2)).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(InputError, match="expected users with three pretrain events"):
        bytes_of(world, tmp_path / "out", tmp_path / "events.parquet")
    assert not (tmp_path / "out/model.safetensors").exists()


@pytest.mark.parametrize(("changed", "message"), [
    ({"heads": 3}, "--hidden_size 16: expected a multiple of --heads, 3"),
    *(({name: 0}, f"--{name} 0: expected a number of at least 1") for name in
      ("hidden_size", "layers", "heads", "length", "patience", "per_device_train_batch_size",
       "per_device_eval_batch_size", "save_total_limit")),
    ({"dropout": 1}, "--dropout 1.0: expected a number of at least 0 and below 1"),
    ({"dropout": "nan"}, "--dropout nan"),
    ({"num_train_epochs": 0}, "--num_train_epochs 0.0: expected a number above 0"),
    ({"learning_rate": -1}, "--learning_rate -1.0: expected a number of at least 0"),
    ({"seed": -1}, "--seed -1: expected a number from 0 to 4,294,967,295"),
])  # fmt: skip
def test_bad_options_are_refused_and_nothing_is_written(world, tmp_path, changed, message):
    assert message in refused("sasrec", *words(world, output_dir=tmp_path / "out", **changed))
    assert not any(tmp_path.iterdir())
