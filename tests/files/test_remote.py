import gzip

import fsspec
import polars as pl
import pytest

from gr2.cli import main
from gr2.errors import InputError
from gr2.files.columns import read_table
from tests.helpers import refused

TABLE = pl.DataFrame({"item_id": ["007", "b"], "price": [1.5, 2.0]})
CSV = b"item_id,price\n007,1.5\nb,2.0\n"


@pytest.fixture
def store():
    """fsspec's memory file system, a folder of this test's own."""
    memory = fsspec.filesystem("memory")
    yield lambda name, content: memory.pipe(f"/shop/{name}", content) or f"memory://shop/{name}"
    memory.rm("/shop", recursive=True)


def test_tables_are_read_by_url_as_from_a_file(store, tmp_path):
    TABLE.write_parquet(tmp_path / "items.parquet")
    lines = TABLE.write_ndjson().encode()
    contents = {
        "items.parquet": (tmp_path / "items.parquet").read_bytes(),
        "items.csv": CSV,
        "items.csv.gz": gzip.compress(CSV),
        "items.jsonl": lines,
        "items.jsonl.gz": gzip.compress(lines),
    }
    for name, content in contents.items():
        assert read_table(store(name, content)).equals(TABLE), name
        (tmp_path / name).write_bytes(content)
        assert read_table((tmp_path / name).as_uri()).equals(TABLE), name
    renamed = read_table(store("items.csv", CSV), {"cost": ["price"]})
    assert renamed.columns == ["cost", "item_id"]


def test_what_cannot_be_read_is_named_by_its_url(store):
    with pytest.raises(InputError, match=r"^memory://shop/none\.csv: cannot be read"):
        read_table("memory://shop/none.csv")
    with pytest.raises(InputError, match=r"^nowhere://items\.csv: cannot be read \(.*nowhere"):
        read_table("nowhere://items.csv")
    with pytest.raises(InputError, match=r"^memory://shop/items\.parquet: not a readable parquet file"):
        read_table(store("items.parquet", b"no parquet"))
    with pytest.raises(InputError, match=r"^memory://shop/items\.txt: expected a file ending in"):
        read_table("memory://shop/items.txt")
    with pytest.raises(InputError, match=r"torn\.csv: line 3: expected 2 fields, as in the header, found 1"):
        read_table(store("torn.csv", b"item_id,price\na,1\nb"))


def test_raw_data_in_a_store_is_prepared_as_from_a_file(world, store, tmp_path):
    for name, files in {"here": world.raw_items, "there": None}.items():
        items = files or store("items.csv", (world.root / "raw/items.csv").read_bytes())
        events = files and world.raw_interactions
        events = events or store("interactions.csv", (world.root / "raw/interactions.csv").read_bytes())
        main(["prepare", "--items", items, "--interactions", events, "--output_dir", str(tmp_path / name)])
    for name in ("items.parquet", "interactions.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_an_output_folder_in_a_store_is_refused(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    complaint = refused("prepare", "--source", "synthetic", "--output_dir", "s3://shop/prepare")
    assert complaint.startswith("--output_dir s3://shop/prepare: expected a local folder; copy it when it is finished")
    assert list(tmp_path.iterdir()) == []
