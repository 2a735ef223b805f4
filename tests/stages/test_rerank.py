import polars as pl
import pytest

from gr2.cli import main
from gr2.files.artifacts import read_json, write_json
from gr2.rerankers.prm.network import PRM, PRMConfig
from gr2.rerankers.rules import NAMES


def rerank(world, folder, **changed):
    options = {"items": world.items, "slates": world.slates, "output_dir": folder} | changed
    main(["rerank", *(word for key, value in options.items() for word in (f"--{key}", str(value)))])
    return pl.read_parquet(folder / "rankings.parquet")


def refused(world, folder, capsys, **changed):
    with pytest.raises(SystemExit) as stop:
        rerank(world, folder, **changed)
    assert stop.value.code == 2
    assert not folder.exists()
    return capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_rule_answers_every_slate_of_the_split(world, tmp_path, name, split):
    frame = rerank(world, tmp_path, reranker=name, split=split, interactions=world.interactions)
    slates = pl.read_parquet(world.slates).filter(pl.col("split") == split)
    assert frame["slate_id"].to_list() == slates["slate_id"].to_list()
    assert frame["valid"].all()
    given, answered = slates["candidates"].to_list(), frame["ranking"].to_list()
    assert [sorted(candidates) for candidates in given] == [sorted(ranking) for ranking in answered]
    if name == "oracle":
        assert all(
            ranking[0] == candidates[labels.index(1.0)]
            for candidates, labels, ranking in zip(given, slates["labels"].to_list(), answered, strict=True)
        )
    else:
        assert (given == answered) == (name in ("input_order", "popularity"))  # these slates come from popularity


def test_structured_says_which_order_it_is(world, tmp_path, capsys):
    for order, taken in (("written", "choices"), ("first", "first")):
        rerank(world, tmp_path / order, reranker="random", order=order, structured="true")
        assert f"--structured true: the order is {taken}\n" in capsys.readouterr().out


def test_the_seed_and_the_number_of_slates_are_obeyed(world, tmp_path):
    whole = rerank(world, tmp_path / "a", reranker="random")
    part = rerank(world, tmp_path / "b", reranker="random", max_slates=7)
    again = rerank(world, tmp_path / "d", reranker="random", max_slates=7)
    other = rerank(world, tmp_path / "c", reranker="random", seed=1)
    assert len(part) == 7 and part.equals(again) and not part.equals(whole.head(7))  # not those of the first users
    assert whole.filter(pl.col("slate_id").is_in(part["slate_id"].implode())).equals(part)  # in file order
    assert not other.equals(whole)
    assert read_json(tmp_path / "c" / "manifest.json")["seed"] == 1


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"reranker": "inputorder"},
     "--reranker inputorder: expected input_order, reversed, random, oracle, popularity, rarest, or a"),
    ({"reranker": "random", "split": "pretrain"}, "--split pretrain: expected one of"),
    ({"reranker": "popularity"}, "--reranker popularity: expected --interactions"),
    ({"reranker": "random", "slates": "absent.parquet"}, "absent.parquet: no such file"),
])  # fmt: skip
def test_what_cannot_be_answered_is_refused(world, tmp_path, capsys, changed, complaint):
    assert complaint in refused(world, tmp_path / "out", capsys, **changed)


def test_popularity_needs_to_know_the_pretrain_events(world, tmp_path, capsys):
    pl.read_parquet(world.interactions).drop("split").write_parquet(tmp_path / "events.parquet")
    error = refused(world, tmp_path / "out", capsys, reranker="popularity", interactions=tmp_path / "events.parquet")
    assert "events.parquet: column 'split' is missing" in error


def test_a_folder_that_is_no_reranker_is_refused(world, tmp_path, capsys):
    error = refused(world, tmp_path / "out", capsys, reranker=world.root / "sids")
    assert "sids: no reranker; expected a folder of `gr2 fit`, `gr2 sasrec` or a language model" in error


def test_blend_and_prm_need_what_features_are_made_of(world, tmp_path, capsys):
    main(["fit", "blend", "--items", world.items, "--interactions", world.interactions,
          "--embeddings", world.embeddings, "--slates", world.slates,
          "--output_dir", str(tmp_path / "blend")])  # fmt: skip
    error = refused(world, tmp_path / "out", capsys, reranker=tmp_path / "blend", interactions=world.interactions)
    assert "blend: expected --embeddings" in error
    PRM(PRMConfig()).save_pretrained(tmp_path / "prm")
    write_json(tmp_path / "prm" / "reranker.json", {"kind": "prm"})
    error = refused(world, tmp_path / "out", capsys, reranker=tmp_path / "prm", embeddings=world.embeddings)
    assert "prm: expected --interactions" in error
    rerank(
        world,
        tmp_path / "out",
        reranker=tmp_path / "blend",
        interactions=world.interactions,
        embeddings=world.embeddings,
    )


def test_slates_without_labels_can_be_answered_but_not_by_the_oracle(world, tmp_path, capsys):
    """At serving time nobody knows what the user will choose."""
    empty = pl.lit([], dtype=pl.List(pl.Float64)).alias("labels")
    pl.read_parquet(world.slates).with_columns(empty).write_parquet(tmp_path / "serving.parquet")
    frame = rerank(
        world,
        tmp_path / "a",
        reranker="popularity",
        slates=tmp_path / "serving.parquet",
        interactions=world.interactions,
    )
    assert len(frame) == 31
    error = refused(world, tmp_path / "out", capsys, reranker="oracle", slates=tmp_path / "serving.parquet")
    assert "--reranker oracle: expected labels, slate_id 'user" in error


def test_shuffled_slates_are_answered_beside_the_slates_and_change_nothing_there(world, tmp_path):
    plain = rerank(world, tmp_path / "plain", reranker="popularity", interactions=world.interactions)
    options = {"interactions": world.interactions, "shuffles": 3, "shuffled_slates": 5}
    frame = rerank(world, tmp_path / "a", reranker="popularity", **options)
    assert frame.equals(plain) and not (tmp_path / "plain" / "shuffled.parquet").exists()
    shuffled = pl.read_parquet(tmp_path / "a" / "shuffled.parquet")
    assert shuffled["shuffle"].to_list() == [0, 1, 2] * 5 and shuffled["slate_id"].n_unique() == 5
    scored = frame.explode("ranking", "scores")
    counts = dict(zip(scored["ranking"], scored["scores"], strict=True))
    for row in shuffled.join(frame, on="slate_id", suffix=" own").iter_rows(named=True):
        assert sorted(row["ranking"]) == sorted(row["ranking own"])
        assert [counts[item] for item in row["ranking"]] == [counts[item] for item in row["ranking own"]]


def test_every_order_is_another_one_and_the_same_again(world, tmp_path):
    options = {"reranker": "input_order", "shuffles": 2, "shuffled_slates": 1000}
    rerank(world, tmp_path / "a", **options)
    rerank(world, tmp_path / "b", **options)
    shuffled = pl.read_parquet(tmp_path / "a" / "shuffled.parquet")
    assert shuffled.equals(pl.read_parquet(tmp_path / "b" / "shuffled.parquet"))
    first, second = (shuffled.filter(shuffle=number) for number in (0, 1))
    assert first["slate_id"].equals(second["slate_id"])
    assert len(first) == min(1000, len(pl.read_parquet(world.slates).filter(split="test")))
    assert not first["ranking"].equals(second["ranking"])


def test_the_time_of_every_reranker_is_kept(world, tmp_path):
    rerank(world, tmp_path, reranker="input_order", shuffles=2, shuffled_slates=3)
    timing = read_json(tmp_path / "timing.json")
    assert timing["slates"] == len(pl.read_parquet(tmp_path / "rankings.parquet")) + 6
    assert 0 < timing["ms_a_slate"] < 1000


def test_slates_are_asked_alone_unless_that_takes_too_long(world, tmp_path, monkeypatch):
    rerank(world, tmp_path / "a", reranker="input_order", alone=7)
    timing = read_json(tmp_path / "a" / "timing.json")
    assert timing["alone"] == 7 and 0 < timing["p50_ms"] <= timing["p99_ms"] < 1000
    rerank(world, tmp_path / "none", reranker="input_order", alone=0)
    monkeypatch.setattr("gr2.rerankers.ask.ALONE_SECONDS", -1)
    rerank(world, tmp_path / "late", reranker="input_order")
    for folder in ("none", "late"):
        timing = read_json(tmp_path / folder / "timing.json")
        assert (timing["alone"], timing["p50_ms"], timing["p99_ms"]) == (0, None, None)


def test_a_language_model_is_asked_alone_with_the_same_answers(world, beginner, tmp_path):
    """And with the histories that it was asked with before."""
    options = {"semantic_ids": world.semantic_ids, "order": "choices", "max_prompt_tokens": 180, "batch_size": 8}
    options |= {"prompt": "student_no_trace", "max_slates": 5}
    frames = [rerank(world, tmp_path / f"{n}", reranker=beginner, alone=n, **options) for n in (0, 3)]
    assert frames[0].drop("latency_ms").equals(frames[1].drop("latency_ms"))
    timing = read_json(tmp_path / "3" / "timing.json")
    assert (timing["alone"], timing["batch_size"]) == (3, 8) and timing["p50_ms"] > 0
    assert sorted(file.name for file in (tmp_path / "3").iterdir()) == [
        "manifest.json", "rankings.parquet", "timing.json"
    ]  # fmt: skip
