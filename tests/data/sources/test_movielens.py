import polars as pl
import pytest

from gr2.data.sources.movielens import movielens
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.stages import prepare


def flags(*numbers):
    return "|".join(str(int(number in numbers)) for number in range(19))


ITEM_100K = [
    f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|{flags(3, 4, 5)}",
    f"2|Misérables, Les (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Mis%E9rables|{flags(8, 12)}",
    f"267|unknown||||{flags(0)}",
]
DATA = ["196\t1\t3\t881250949", "22\t2\t1\t878887116", "196\t267\t5\t881250949"]
RATINGS_DAT = ["1::1193::5::978300760", "1::2::3.5::978302109", "2::73::4::978301968"]
# With a byte that is no letter in Latin-1 but an end of line for str.splitlines.
MOVIES_DAT = [
    "1193::One Flew: Over the Cuckoo's Nest (1975)::Drama",
    "2::Jumanji\x85 (1995)::Adventure|Children's",
    "73::Misérables, Les (1995)::Drama|Musical",
]
RATINGS_CSV = ["userId,movieId,rating,timestamp", "1,16,4.0,1217897793", "1,11,2.5,1217895807", "671,7,0.5,1217896246"]
MOVIES_CSV = [
    "movieId,title,genres",
    "7,1984,Drama",
    '11,"American President, The (1995)",Comedy|Drama|Romance',
    '16,"""Great Performances"" Cats (1998)",(no genres listed)',
]

ROWS_100K = [
    ("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"]),
    ("2", "Misérables, Les (1995)", ["Drama", "Musical"]),
    ("267", "unknown", []),
]
ROWS_DAT = [
    ("1193", "One Flew: Over the Cuckoo's Nest (1975)", ["Drama"]),
    ("2", "Jumanji\x85 (1995)", ["Adventure", "Children's"]),
    ("73", "Misérables, Les (1995)", ["Drama", "Musical"]),
]
ROWS_CSV = [
    ("7", "1984", ["Drama"]),
    ("11", "American President, The (1995)", ["Comedy", "Drama", "Romance"]),
    ("16", '"Great Performances" Cats (1998)', []),
]
EVENTS_100K = [("196", "1", 3.0, 881250949), ("22", "2", 1.0, 878887116), ("196", "267", 5.0, 881250949)]
EVENTS_DAT = [("1", "1193", 5.0, 978300760), ("1", "2", 3.5, 978302109), ("2", "73", 4.0, 978301968)]
EVENTS_CSV = [("1", "16", 4.0, 1217897793), ("1", "11", 2.5, 1217895807), ("671", "7", 0.5, 1217896246)]
RELEASES = {
    "100k": ("u.data", DATA, "u.item", ITEM_100K, "latin-1", EVENTS_100K, ROWS_100K),
    "1m": ("ratings.dat", RATINGS_DAT, "movies.dat", MOVIES_DAT, "latin-1", EVENTS_DAT, ROWS_DAT),
    "10m": ("ratings.dat", RATINGS_DAT, "movies.dat", MOVIES_DAT, "utf-8", EVENTS_DAT, ROWS_DAT),
    "32m": ("ratings.csv", RATINGS_CSV, "movies.csv", MOVIES_CSV, "utf-8", EVENTS_CSV, ROWS_CSV),
}


def unpacked(folder, release, **changed):
    """A release's folder; changed: `ratings` or `films`, other lines."""
    ratings, events, films, items, encoding, _, _ = RELEASES[release]
    for name, lines in ((ratings, changed.get("ratings", events)), (films, changed.get("films", items))):
        (folder / name).write_bytes("".join(line + "\n" for line in lines).encode(encoding))
    (folder / "README").write_text("SUMMARY & USAGE LICENSE")
    return str(folder)


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_read(tmp_path, release):
    made = movielens(unpacked(tmp_path, release))
    *_, events, rows = RELEASES[release]
    assert made.interactions.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert made.interactions.rows() == events
    items = made.items(made.interactions["item_id"].unique())
    assert items.columns == ["item_id", "title", "categories"]
    assert items.rows() == rows
    assert made.items(pl.Series([rows[1][0]])).rows() == rows[1:2]


def test_lines_may_end_as_windows_ends_them(tmp_path):
    unpacked(tmp_path, "1m")
    (tmp_path / "movies.dat").write_bytes((tmp_path / "movies.dat").read_bytes().replace(b"\n", b"\r\n"))
    assert movielens(str(tmp_path)).items(pl.Series(["1193", "2", "73"])).rows() == ROWS_DAT


def test_a_release_goes_through_prepare(tmp_path):
    lines = [f"{user}\t{item}\t{1 + item}\t{880_000_000 + 60 * item}" for user in (7, 8) for item in (1, 2, 267)]
    folder = unpacked(tmp_path, "100k", ratings=lines)
    prepare.run(
        prepare.Config(
            source="movielens",
            folder=folder,
            output_dir=str(tmp_path / "out"),
            leave_one_out=True,
            min_user_events=3,
            min_item_events=2,
        )
    )
    assert read_json(tmp_path / "out" / "summary.json") == {
        "events_read": 6, "users": 2, "items": 3, "events": 6,
        "splits": {"pretrain": 2, "train": 0, "valid": 2, "test": 2}, "items_without_events": 0,
        "left_out": {
            "wrong_items": 0, "wrong_events": 0, "reasons": {}, "events_of_other_types": 0, "repeated_events": 0,
            "k_core": {"users": 0, "items": 0, "events": 0}, "items_without_events": None,
        },
        "pretrain_later_than_first_test": 0.0, "pretrain_later_than_median_test": 0.0,
    }  # fmt: skip
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").rows() == ROWS_100K
    events = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert events.filter(pl.col("split") == "test")["item_id"].to_list() == ["267", "267"]


def test_a_folder_that_is_no_release_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--folder .*absent: expected a folder, an unpacked release"):
        movielens(str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"--source movielens: expected --folder FOLDER, an unpacked release"):
        prepare.Config(source="movielens", output_dir=str(tmp_path / "out"))
    (tmp_path / "u.data").write_text("".join(line + "\n" for line in DATA))
    (tmp_path / "movies.csv").write_text("".join(line + "\n" for line in MOVIES_CSV))
    expected = r"expected u\.data and u\.item, ratings\.dat and movies\.dat, or ratings\.csv and movies\.csv"
    with pytest.raises(InputError, match=expected):
        movielens(str(tmp_path))


BAD_RATINGS = {
    "100k": {
        "196\t1": "row 1, column 'rating': expected a number, found None",
        "196\t1\tgood\t881250949": "row 1, column 'rating': expected a number, found 'good'",
        "196\t1\tnan\t881250949": "row 1, column 'rating': expected a number, found 'nan'",
        "196\t1\t3\t881250949000": "row 1, column 'timestamp': expected seconds since 1970, between 1840 and 2100",
        "196\t1\t3\t881250949.5": "row 1, column 'timestamp': expected a number, found '881250949.5'",
        "\t1\t3\t881250949": "row 1, column 'user_id': expected an id",
        "196\t999\t3\t881250949": "row 1, column 'item_id': expected an item of the list of films, found '999'",
        "196\t1\t3\t881250949\t5": "not a readable file of MovieLens",
    },
    "1m": {
        "1::1193": "row 1, column 'rating': expected a number, found None",
        "1::1193::5::now": "row 1, column 'timestamp': expected a number, found 'now'",
        "1::999::5::978300760": "row 1, column 'item_id': expected an item of the list of films, found '999'",
        "1::1193::5::978300760::9": "not a readable file of MovieLens",
    },
    "32m": {
        "1,16,4.0": "row 1, column 'timestamp': expected a number, found None",
        "1,16,good,1217897793": "row 1, column 'rating': expected a number, found 'good'",
        ",16,4.0,1217897793": "row 1, column 'user_id': expected an id, found None",
        "1,999,4.0,1217897793": "row 1, column 'item_id': expected an item of the list of films, found '999'",
        "1,16,4.0,1217897793,9": "not a readable file of MovieLens",
    },
}


@pytest.mark.parametrize(
    ("release", "line"), [(release, line) for release in BAD_RATINGS for line in BAD_RATINGS[release]]
)
def test_a_bad_rating_is_named(tmp_path, release, line):
    name, good = RELEASES[release][:2]
    row = 2 if release == "32m" else 1  # after a header
    folder = unpacked(tmp_path, release, ratings=[*good[:row], line, *good[row:]])
    with pytest.raises(InputError) as refusal:
        movielens(folder)
    assert str(refusal.value).startswith(f"{tmp_path / name}: {BAD_RATINGS[release][line]}")


@pytest.mark.parametrize(("release", "line", "complaint"), [
    ("100k", "3|Four Rooms (1995)|01-Jan-1995", r"row 1: expected 24 fields with \| between, found 3"),
    ("100k", f"3|Four Rooms (1995)|01-Jan-1995||x|y|{flags(8)}",
     r"row 1: expected 24 fields with \| between, found 25"),
    ("1m", "3::Grumpier Old Men (1995)", "row 1: expected 3 fields with :: between, found 2"),
    ("32m", "3,Grumpier Old Men (1995),Comedy,Romance", "not a readable file of MovieLens"),
    ("100k", ITEM_100K[0], "row 1, column 'item_id': expected unique item ids, found '1'"),
    ("1m", MOVIES_DAT[0], "row 1, column 'item_id': expected unique item ids, found '1193'"),
    ("32m", MOVIES_CSV[1], "row 1, column 'item_id': expected unique item ids, found '7'"),
    ("32m", ",Grumpier Old Men (1995),Comedy", "row 0, column 'movieId': expected an id, found None"),
])  # fmt: skip
def test_a_bad_film_is_named(tmp_path, release, line, complaint):
    name, good = RELEASES[release][2:4]
    films = [*good[:2], line, *good[2:]] if line == MOVIES_CSV[1] else [good[0], line, *good[1:]]
    folder = unpacked(tmp_path, release, films=films)
    with pytest.raises(InputError, match=rf"{name}: {complaint}"):
        movielens(folder)


@pytest.mark.parametrize(("release", "lines", "complaint"), [
    ("100k", ["196 1 3 881250949"], "row 0: expected user_id, item_id, rating, timestamp, found 1 fields"),
    ("1m", [], "not a readable file of MovieLens"),
    ("32m", ["user,movie,rating,timestamp", "1,16,4.0,1217897793"], "column 'userId' is missing; it has user, movie"),
])  # fmt: skip
def test_ratings_in_another_form_are_refused(tmp_path, release, lines, complaint):
    folder = unpacked(tmp_path, release, ratings=lines)
    with pytest.raises(InputError, match=rf"{RELEASES[release][0]}: {complaint}"):
        movielens(folder)


def test_a_list_of_films_cut_short_is_refused(tmp_path):
    folder = unpacked(tmp_path, "32m")
    (tmp_path / "movies.csv").write_text("\n".join([*MOVIES_CSV, "99,Torn"]))
    with pytest.raises(
        InputError, match=r"movies\.csv: row 3: expected 3 fields, but the file ends before the last one"
    ):
        movielens(folder)
