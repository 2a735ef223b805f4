"""An engine in this process: what it makes of answers and slates that cannot be used."""

from dataclasses import replace

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.slates import read_slates
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.serving.engine import Engine, remove_paths
from gr2.serving.messages import RankingJob
from gr2.serving.settings import Settings
from gr2.stages import facts
from tests.helpers import fit
from tests.serving.conftest import known


def make_job(slate, number: str = "1", **more) -> RankingJob:
    return RankingJob(number, slate.candidates, history=slate.history, **more)


def open_engine(world, reranker, **sampling) -> Engine:
    return Engine(Settings(str(reranker), Inputs(**known(world)), Sampling(**sampling)))


def test_an_unusable_answer_is_the_input_order_marked(world, beginner, asked):
    engine = open_engine(world, beginner, order="written", prompt="student_no_trace", max_tokens=4)
    (answer,) = engine.answer([make_job(asked[0])])
    assert answer.fallback == "unusable" and answer.order == list(range(10)) and answer.scores is None
    assert answer.why.startswith("The model's answer was unusable: ") and answer.tokens[1] <= 4


def test_a_slate_without_what_the_prompt_shows_harms_no_other(world, beginner, asked):
    engine = open_engine(world, beginner, order="first", prompt="student_facts", max_tokens=40)
    names = "rank popularity recency score similarity_last similarity_max similarity_mean"
    facts = [dict.fromkeys(names.split(), 1)] * 3
    first, second = (replace(slate, history=slate.history[-3:], candidates=slate.candidates[:3]) for slate in asked[:2])
    jobs = [make_job(first, "1"), make_job(first, "2", facts=facts), make_job(second, "3", facts=facts)]
    bare, whole, again = engine.answer(jobs)
    assert bare.fallback == "refused" and bare.why.startswith("The reranker refused: prompt student_facts: ")
    assert bare.order == [0, 1, 2] and bare.why.endswith(".") and not bare.why.endswith("..")
    assert whole.fallback is None and again.fallback is None and len(whole.scores) == 3


def test_facts_are_added_to_a_request_without_as_gr2_facts_adds_them(world, beginner, tmp_path):
    short = pl.read_parquet(world.slates).with_columns(pl.col("candidates", "labels", "scores").list.head(3))
    short.with_columns(pl.col("history").list.tail(3)).write_parquet(tmp_path / "short.parquet")  # the model is small
    files = {name: getattr(world, name) for name in ("items", "interactions", "embeddings")}
    facts.run(facts.Config(**files, slates=str(tmp_path / "short.parquet"), output_dir=str(tmp_path)))
    slates = read_slates(tmp_path / "slates.parquet", split="test")[:3]
    settings = Settings(
        str(beginner),
        Inputs(**known(world)),
        Sampling(order="first", prompt="student_facts", max_tokens=40),
        levels=str(tmp_path / "levels.json"),
    )
    engine = Engine(settings)
    told = engine.answer([make_job(slate, slate.slate_id, facts=slate.facts, scores=slate.scores) for slate in slates])
    bare = engine.answer([make_job(slate, slate.slate_id, scores=slate.scores) for slate in slates])
    assert [answer.scores for answer in bare] == [answer.scores for answer in told]
    assert [(answer.fallback, answer.why, answer.lacks) for answer in told + bare] == [(None, None, None)] * 6
    (scoreless,) = engine.answer([make_job(slates[0])])
    assert scoreless.fallback is None and scoreless.lacks == "score"


def test_features_of_a_request_reach_rerankers_that_read_them(world, fitted, asked):
    """PRM reads vectors, too, so that a new item needs an encoder; what is known takes given features."""
    blend, prm = (open_engine(world, fitted / kind) for kind in ("blend", "prm"))
    slate = asked[0]
    given = [{"followed": 5.0}, *[None] * 9]
    for engine in (blend, prm):
        plain, with_features = engine.answer([make_job(slate), make_job(slate, "2", features=given)])
        scores = [dict(zip(answer.order, answer.scores, strict=True)) for answer in (plain, with_features)]
        assert scores[0][0] != pytest.approx(scores[1][0], abs=1e-3)
    new = RankingJob("3", [*slate.candidates, "new"], history=slate.history, texts=[*[None] * 10, "Comedy number 4"])
    assert blend.answer([new])[0].marks == {} and prm.answer([new])[0].marks == {10: "unknown"}
    prm.encode, prm.ranks_text = (lambda texts: prm.reranker.features.vectors[: len(texts)]), True
    answer = prm.answer([new])[0]
    assert answer.marks == {} and None not in answer.scores


def test_an_answer_without_the_scores_that_the_reranker_learned_from_is_marked(world, fitted, asked, tmp_path):
    slate, names = asked[0], ("items", "interactions", "embeddings")
    pl.read_parquet(world.slates).drop("scores").write_parquet(tmp_path / "slates.parquet")
    files = {name: known(world)[name] for name in names} | {"slates": str(tmp_path / "slates.parquet")}
    fit("blend", tmp_path / "blend", files)
    bare, scored = make_job(slate), make_job(slate, "2", scores=slate.scores)
    given = make_job(slate, "3", features=[{"score": value} for value in slate.scores])
    nobody = RankingJob("4", slate.candidates, user="nobody")
    for folder, lacks in ((fitted / "blend", "score"), (fitted / "prm", "score"), (tmp_path / "blend", None)):
        answers = open_engine(world, folder).answer([bare, scored, given, nobody])
        assert [answer.lacks for answer in answers] == [lacks, None, None, None], folder
        assert [answer.fallback for answer in answers] == [None, None, None, "unknown_user"]


def test_a_batch_is_answered_in_its_order(world, fitted, asked):
    engine = open_engine(world, fitted / "pointer")
    nobody = RankingJob("x", ["film01", "film02"], user="nobody")
    batch = [make_job(asked[0], "a"), nobody, make_job(asked[1], "b")]
    together, alone = engine.answer(batch), [engine.answer([one])[0] for one in batch]
    assert together == alone and [answer.fallback for answer in together] == [None, "unknown_user", None]


def test_a_request_is_answered_under_its_number(world, beginner, asked):
    """Whatever is asked beside it: as `gr2 rerank` answers a slate with this slate_id."""
    how = {"order": "choices", "prompt": "student_no_trace", "max_tokens": 60, "temperature": 1.0}
    engine, slate = open_engine(world, beginner, **how), replace(asked[0], candidates=asked[0].candidates[:3])
    jobs = [make_job(slate, str(number)) for number in range(12)]
    orders = [answer.order for answer in engine.answer(jobs)]
    assert len(set(map(tuple, orders))) > 2
    assert [answer.order for answer in engine.answer(jobs[5:7])] == orders[5:7]
    ranked = [engine.reranker.rank([replace(slate, slate_id=job.number, scores=[])])[0].ranking for job in jobs]
    assert ranked == [[slate.candidates[at] for at in order] for order in orders]


def test_no_path_leaves_the_server():
    assert remove_paths("/a/b c: expected 2; see s3://k/v") == "the reranker c: expected 2; see the reranker."


def test_a_reranker_without_its_files_is_refused(world, fitted):
    with pytest.raises(InputError, match="blend: expected --interactions and --embeddings"):
        Engine(Settings(str(fitted / "blend"), Inputs(world.items)))
