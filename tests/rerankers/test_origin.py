import pytest

from gr2.errors import InputError
from gr2.files.artifacts import sha256, write_json, write_text
from gr2.rerankers.origin import check_origin, find_origin, refuse_earlier_slates
from gr2.rerankers.record import digests


@pytest.fixture
def ranked(tmp_path):
    """Rankings of a reranker of two files, one of them in a folder inside; an input of another stage is beside them."""
    for name, text in (("model.txt", "a"), ("parts/more.txt", "b")):
        write_text(tmp_path / "model" / name, text)
    write_text(tmp_path / "ranked/rankings.parquet", "of model")
    inputs = {str(tmp_path / "model" / name): digest for name, digest in digests(str(tmp_path / "model")).items()}
    made = {"stage": "rerank", "config": {"reranker": str(tmp_path / "model")}, "outputs": {"rankings.parquet": "0"}}
    write_json(tmp_path / "ranked/manifest.json", {**made, "inputs": inputs | {"items.parquet": "1"}})
    return tmp_path / "ranked/rankings.parquet"


def check(path, reranker) -> None:
    check_origin(find_origin(path), "--rankings", str(reranker), digests(str(reranker)))


def test_a_reranker_is_its_files_wherever_they_lie(ranked, tmp_path):
    check(ranked, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "moved")
    check(ranked, tmp_path / "moved")


def test_another_reranker_is_refused_and_so_is_one_that_changed_since(ranked, tmp_path):
    with pytest.raises(InputError, match=r"--rankings: expected rankings of input_order, found those of .*model$"):
        check(ranked, "input_order")
    write_text(tmp_path / "other/model.txt", "a")
    with pytest.raises(InputError, match=r"expected rankings of .*other, found those of .*model$"):
        check(ranked, tmp_path / "other")
    write_text(tmp_path / "model/parts/more.txt", "c")
    with pytest.raises(
        InputError, match=r"expected rankings of .*model, found those of another model in the same folder"
    ):
        check(ranked, tmp_path / "model")


def test_a_rule_is_its_name(tmp_path):
    made = {"config": {"reranker": "popularity"}, "inputs": {"items.parquet": "1"}}
    check_origin(made, "--rankings", "popularity", {})
    for other in ("random", str(tmp_path)):
        with pytest.raises(InputError, match="found those of popularity"):
            check_origin(made, "--rankings", other, {})


def test_only_a_manifest_of_rerank_that_names_the_file_says_whose_it_is(ranked, tmp_path):
    assert find_origin(ranked)["inputs"][str(tmp_path / "model/model.txt")] == sha256(tmp_path / "model/model.txt")
    write_text(tmp_path / "ranked/mine.parquet", "by hand")
    write_text(tmp_path / "alone/rankings.parquet", "by hand")
    write_text(tmp_path / "split/rankings.parquet", "by hand")
    write_json(tmp_path / "split/manifest.json", {"stage": "slates", "outputs": {"rankings.parquet": "0"}})
    files = ("ranked/mine.parquet", "alone/rankings.parquet", "split/rankings.parquet")
    assert [find_origin(tmp_path / name) for name in files] == [None] * 3


def test_rankings_of_slates_that_changed_since_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slates, copy = tmp_path / "slates.parquet", tmp_path / "copy.parquet"
    for file in (slates, copy):
        write_text(file, "one order")
    write_text(tmp_path / "ranked/rankings.parquet", "")
    made = {"stage": "rerank", "config": {"reranker": "random"}, "outputs": {"rankings.parquet": "0"}}
    write_json(tmp_path / "ranked/manifest.json", made | {"inputs": {"slates.parquet": sha256(slates)}})
    paths = [str(tmp_path / "ranked/rankings.parquet"), str(tmp_path / "unknown/rankings.parquet")]
    refuse_earlier_slates(paths, str(slates))
    write_text(slates, "another order")
    with pytest.raises(
        InputError, match=r"ranked/rankings\.parquet: expected rankings of .*slates\.parquet as it is now"
    ):
        refuse_earlier_slates(paths, str(slates))
    refuse_earlier_slates(paths, str(copy))  # the same slates with other labels are another file
