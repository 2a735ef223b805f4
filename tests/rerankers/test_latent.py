from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.latent import FILE, Latent
from gr2.stages.rerank import Config, run

SLATE = Slate("a", ["item2", "item0"], ["item1", "item2", "item3"], [0.0, 1.0, 0.0], user_id="user1")


@pytest.fixture
def folder(tmp_path):
    save_file(
        {
            "taste": np.array([[1.0, 1.0], [2.0, 3.0]]),
            "follows": np.array([[1.0, 5.0], [1.0, 1.0]]),
            "genre": np.array([0, 0, 1, 1]),
            "share": np.array([0.5, 0.5, 0.25, 0.75]),
        },
        tmp_path / FILE,
    )
    return tmp_path


def test_scores_are_the_probabilities_that_the_source_draws_from(folder):
    odds = Latent(folder).odds(SLATE)  # the last item is of genre 0, which genre 1 follows five times as often
    assert odds.tolist() == [2 * 1 * 0.5, 3 * 5 * 0.25, 3 * 5 * 0.75]


def test_rerank_takes_the_folder(folder, tmp_path):
    pl.DataFrame([vars(SLATE)]).drop("scores", "facts").write_parquet(tmp_path / "slates.parquet")
    pl.DataFrame({"item_id": [f"item{n}" for n in range(4)], "title": ["x"] * 4}).write_parquet(
        tmp_path / "items.parquet"
    )
    run(
        Config(
            items=str(tmp_path / "items.parquet"),
            slates=str(tmp_path / "slates.parquet"),
            reranker=str(folder),
            output_dir=str(tmp_path / "out"),
        )
    )
    ranking = pl.read_parquet(tmp_path / "out/rankings.parquet")["ranking"].to_list()
    assert ranking == [["item3", "item2", "item1"]]


def test_slates_of_another_source_are_refused(folder):
    with pytest.raises(InputError, match="expected slates of this folder's synthetic world, found the id 'anna'"):
        Latent(folder).rank([replace(SLATE, user_id="anna")])
