"""What another reranker, the teacher, thinks of every slate."""

import numpy as np
import polars as pl
from scipy.special import softmax

from gr2.errors import InputError
from gr2.files.rankings import read_rankings


def read_teacher(path: str, slates: pl.DataFrame, temperature: float) -> dict[str, np.ndarray]:
    """A reranker's probabilities of each slate's candidates, softmax(scores / temperature), by slate_id.

    InputError where a slate has no row or no finite scores.
    """
    advice = "; expected `gr2 rerank --split train` of a reranker that scores"
    frame = read_rankings(path, slates, advice)
    if "scores" not in frame.columns:
        raise InputError(f"{path}: column 'scores' is missing{advice}")
    probabilities = {}
    rows = frame.select("slate_id", "ranking", "scores").iter_rows()
    for (slate_id, ranking, scores), candidates in zip(rows, slates["candidates"].to_list(), strict=True):
        if scores is None or len(scores) != len(ranking) or not np.isfinite(np.array(scores, float)).all():
            expected = "expected a finite score for each item of the ranking"
            raise InputError(f"{path}: slate_id '{slate_id}', column 'scores': {expected}")
        known = dict(zip(ranking, scores, strict=True))
        probabilities[slate_id] = softmax(np.array([known[item_id] for item_id in candidates]) / temperature)
    return probabilities
