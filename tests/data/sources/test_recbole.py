from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from gr2.data.sources.recbole import recbole
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import prepare

ML_INTER = [
    "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "196\t242\t3\t881250949",
    "186\t302\t3.5\t8.91717742E8",
]
ML_ITEM = [
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    "242\tKolya\t1996\tComedy",
    "302\tL.A. \"Confidential\t1997\tCrime Film-Noir Children's",
    "303\tNo year\t\t",
]
AMAZON_INTER = [
    "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "A1\tB1\t5.0\t1355616000.0",
    "A2\tB2\t1.0\t1355702400.0",
]
AMAZON_ITEM = [
    "item_id:token\tcategories:token_seq\ttitle:token\tprice:float\tsales_type:token\tsales_rank:float\tbrand:token",
    "B1\t'Pet Supplies', \"Dogs' Beds, Mats\", 'Beds'\tBlue bed\t9.99\tPet Supplies\t\tPetCo",
    "B2\t['Clothing', 'Women']\tDress\t\t\t123.0\t",
    "B3\t\tNothing known\t\t\t\t",
]


def atomic(folder, inter, item, name="set"):
    for ending, lines in ((".inter", inter), (".item", item)):
        (folder / f"{name}{ending}").write_text("".join(line + "\n" for line in lines))
    return str(folder)


def test_films_have_their_year_and_genres(tmp_path):
    made = recbole(atomic(tmp_path, ML_INTER, ML_ITEM))
    assert made.interactions.schema == {
        "user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "rating": pl.Float64,
    }  # fmt: skip
    assert made.interactions.rows() == [("196", "242", 881250949, 3.0), ("186", "302", 891717742, 3.5)]
    items = made.items(pl.Series(["242", "302", "303"]))
    assert items.columns == ["item_id", "title", "categories"]
    assert items.rows() == [
        ("242", "Kolya (1996)", ["Comedy"]),
        ("302", 'L.A. "Confidential (1997)', ["Crime", "Film-Noir", "Children's"]),
        ("303", "No year", []),
    ]


def test_amazons_quoted_categories_are_names(tmp_path):
    made = recbole(atomic(tmp_path, AMAZON_INTER, AMAZON_ITEM))
    assert made.interactions.rows() == [("A1", "B1", 1355616000, 5.0), ("A2", "B2", 1355702400, 1.0)]
    assert made.items(pl.Series(["B1", "B2", "B3"])).rows() == [
        ("B1", "Blue bed", ["Pet Supplies", "Dogs' Beds, Mats", "Beds"]),
        ("B2", "Dress", ["Clothing", "Women"]),
        ("B3", "Nothing known", []),
    ]


def test_titles_are_enough(tmp_path):
    """As LLMRank publishes its games; events without ratings."""
    inter = [
        "user_id:token\titem_id:token\ttimestamp:float",
        *(f"{u}\t{i}\t{10 * i}" for u in range(2) for i in range(3)),
    ]
    item = ["item_id:token\ttitle:token_seq", "0\tFire Emblem", "1\tPok&eacute;mon Moon", "2\tGolden Sun", "3\tUnseen"]
    folder = atomic(tmp_path, inter, item)
    prepare.run(
        prepare.Config(
            source="recbole", folder=folder, output_dir=str(tmp_path / "out"), min_user_events=3, min_item_events=2
        )
    )
    assert read_json(tmp_path / "out" / "summary.json")["events"] == 6
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.rows() == [("0", "Fire Emblem"), ("1", "Pokémon Moon"), ("2", "Golden Sun")]


@pytest.mark.parametrize(("ending", "line", "complaint"), [
    (".inter", "196\t999\t3\t1", "row 2, column 'item_id': expected an item of the items file, found '999'"),
    (".inter", "\t242\t3\t1", "row 2, column 'user_id': expected an id, found None"),
    (".inter", "196\t242\t3\tnow", "row 2, column 'timestamp:float': expected a number, found 'now'"),
    (".inter", "196\t242\tgood\t1", "row 2, column 'rating:float': expected a number, found 'good'"),
    (".inter", "196\t242", "row 2, column 'timestamp': expected seconds since 1970, as the other times are"),
    (".inter", "196\t242\t3\t1\t9", "not a readable tab-separated file"),
    (".item", "\tNo id\t1997\tDrama", "row 3, column 'item_id': expected an id, found None"),
])  # fmt: skip
def test_a_bad_row_is_named(tmp_path, ending, line, complaint):
    lines = {".inter": ML_INTER, ".item": ML_ITEM}
    lines[ending] = [*lines[ending], line]
    folder = atomic(tmp_path, lines[".inter"], lines[".item"])
    with pytest.raises(InputError) as refusal:
        recbole(folder)
    assert str(refusal.value).startswith(f"{tmp_path / 'set'}{ending}: {complaint}")


@pytest.mark.parametrize(("ending", "header", "complaint"), [
    (".item", "item_id:token\theading:token_seq\trelease_year:token\tclass:token_seq",
     "expected a column for titles, one of title, movie_title, .*; it has item_id, heading, release_year, class"),
    (".item", "id:token\ttitle:token_seq\trelease_year:token\tclass:token_seq",
     "column 'item_id' is missing; it has id, title"),
    (".item", "item_id\ttitle\trelease_year\tclass",
     "column 'item_id': expected a name and a type, like user_id:token"),
    (".inter", "user_id:token\titem_id:token\trating:float\tday:token",
     "column 'timestamp' is missing; it has user_id, item_id"),
])  # fmt: skip
def test_a_missing_column_is_named(tmp_path, ending, header, complaint):
    lines = {".inter": ML_INTER, ".item": ML_ITEM}
    lines[ending] = [header, *lines[ending][1:]]
    folder = atomic(tmp_path, lines[".inter"], lines[".item"])
    with pytest.raises(InputError, match=rf"set\{ending}: {complaint}"):
        recbole(folder)


def test_a_folder_without_one_file_of_each_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--folder .*absent: expected a folder with one \.inter"):
        recbole(str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"--source recbole: expected --folder FOLDER with one \.inter"):
        prepare.Config(source="recbole", output_dir=str(tmp_path / "out"))
    atomic(tmp_path, ML_INTER, ML_ITEM)
    (tmp_path / "set.item").unlink()
    with pytest.raises(InputError, match=r"expected one \.item file, found 0"):
        recbole(str(tmp_path))
    atomic(tmp_path, ML_INTER, ML_ITEM)
    atomic(tmp_path, ML_INTER, ML_ITEM, name="other")
    with pytest.raises(InputError, match=r"expected one \.inter file, found 2"):
        recbole(str(tmp_path))


@pytest.mark.skipif(find_spec("recbole") is None, reason="needs the package recbole")
def test_the_example_inside_recbole_is_movielens_100k():
    folder = Path(find_spec("recbole").origin).parent / "dataset_example" / "ml-100k"
    made = recbole(str(folder))
    assert len(made.interactions) == 100_000
    items = made.items(made.interactions["item_id"].unique())
    assert len(items) == 1682
    first = items.row(by_predicate=pl.col("item_id") == "1", named=True)
    assert first["title"] == "Toy Story (1995)" and first["categories"] == ["Animation", "Children's", "Comedy"]
