import numpy as np
import polars as pl
import pytest

from gr2.data.features import NAMES
from gr2.errors import InputError
from gr2.files.slates import read_slate_table, slates_of
from gr2.prompts.prompt import load_prompt
from gr2.prompts.render import render
from gr2.stages import facts

SHOWN = [name for name in NAMES if name not in ("rank", "top")]


def add_facts(world, slates, folder) -> str:
    files = {name: getattr(world, name) for name in ("items", "interactions", "embeddings")}
    facts.run(facts.Config(**files, slates=str(slates), output_dir=str(folder)))
    return str(folder / "slates.parquet")


@pytest.fixture(scope="module")
def with_facts(world):
    return add_facts(world, world.slates, world.root / "facts")


def test_each_candidate_has_its_rank_and_a_level_of_each_feature(world, with_facts):
    before, after = read_slate_table(world.slates), read_slate_table(with_facts)
    assert after.drop("facts").equals(before)
    for slate in after.iter_rows(named=True):
        assert [known["rank"] for known in slate["facts"]] == list(range(1, len(slate["candidates"]) + 1))
        for known in slate["facts"]:
            assert set(known) == {"rank", *SHOWN} and all(0 <= known[name] < 10 for name in SHOWN)


def test_levels_are_deciles_of_the_train_candidates(with_facts):
    train = read_slate_table(with_facts).filter(pl.col("split") == "train")
    levels = train["facts"].explode().struct.field("similarity_mean")  # no two alike
    counts = levels.value_counts()["count"]
    assert len(counts) == 10 and counts.max() - counts.min() <= 2


def test_levels_never_fall_where_a_feature_rises():
    values = np.linspace(-1, 1, 50)
    found = facts.find_levels(values, facts.find_bounds(values)).tolist()
    assert found == sorted(found) and set(found) == set(range(10))


def test_a_prompt_shows_them_beside_their_item(world, with_facts):
    from gr2.data.catalogue import read_catalogue

    catalogue = read_catalogue(world.items, world.semantic_ids)
    slate = slates_of(read_slate_table(with_facts))[0]
    text = render(load_prompt("student_facts"), slate, catalogue)[1]["content"]
    for item_id, known in zip(slate.candidates, slate.facts, strict=True):
        line = next(line for line in text.splitlines() if line.endswith(catalogue.sid[item_id]) and " s" in line)
        assert f" r{'abcdefghij'[known['rank'] - 1]} s{'abcdefghij'[known['score']]} " in line


def test_a_prompt_with_facts_refuses_slates_without(world):
    from gr2.data.catalogue import read_catalogue

    catalogue = read_catalogue(world.items, world.semantic_ids)
    slate = slates_of(read_slate_table(world.slates))[0]
    with pytest.raises(InputError, match="student_facts"):
        render(load_prompt("student_facts"), slate, catalogue)


def test_the_position_in_a_log_is_no_fact_and_a_prompt_that_shows_it_is_refused(world, tmp_path):
    from gr2.data.catalogue import read_catalogue

    positions = pl.int_ranges(1, pl.col("candidates").list.len() + 1)
    read_slate_table(world.slates).with_columns(positions=positions).write_parquet(tmp_path / "logged.parquet")
    slate = slates_of(read_slate_table(add_facts(world, tmp_path / "logged.parquet", tmp_path / "facts")))[0]
    assert all(set(known) == set(SHOWN) for known in slate.facts)
    refusal = "prompt student_facts: it shows 'rank': expected one of popularity, recency, score, "
    with pytest.raises(InputError, match=refusal):
        render(load_prompt("student_facts"), slate, read_catalogue(world.items, world.semantic_ids))


def test_facts_of_the_wrong_number_are_refused(with_facts, tmp_path):
    frame = pl.read_parquet(with_facts).with_columns(pl.col("facts").list.head(2))
    frame.write_parquet(tmp_path / "slates.parquet")
    with pytest.raises(InputError, match=r"row 0, column 'facts'.*one mapping per candidate"):
        read_slate_table(tmp_path / "slates.parquet")
    frame.with_columns(pl.lit("x").alias("facts")).write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(InputError, match="column 'facts': expected a list of mappings"):
        read_slate_table(tmp_path / "texts.parquet")
