"""gr2 simulate-clicks: lists shown to a synthetic world's users -> impressions.parquet, a log whose truth is known.

The clicks follow the position-based model, as in Joachims, Swaminathan and Schnabel 2017: a user looks at position k
with probability 1 / k^eta, and clicks an item there with the probability in the column `relevance`. It rises with the
probability by which the world draws the item as the user's next one, from `noise` to `liked` for the list's best item.
The column `certain` is 1, so `gr2 impressions --columns click=relevance propensity=certain` makes the same slates with
the truth as labels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import require_columns, write_parquet
from gr2.files.slates import SLATE_SPLITS, Slate
from gr2.options.declare import arg
from gr2.rerankers.latent import Latent
from gr2.retrieval.lists import read_lists
from gr2.retrieval.next_item import id_lists
from gr2.retrieval.positions import read_events, select_positions
from gr2.stages.shared import ItemOptions

WRITES = ("impressions.parquet",)


@dataclass(kw_only=True)
class Config(ItemOptions):
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path="interactions.parquet")
    world: str = arg(help="the folder of `gr2 prepare --source synthetic`", path=True)
    lists: str = arg(help="the lists to show: top_k.parquet of `gr2 slates --depth`", path="top_k.parquet")
    output_dir: str = arg(help="folder for impressions.parquet")
    shown: int = arg(10, "how many items of a list are shown", least=2)
    eta: float = arg(1.0, "users look at position k with probability 1 / k^ETA; 0: always", least=0, most=10)
    liked: float = arg(0.6, "probability of a click on a list's best item, if the user looks at it", above=0, most=1)
    noise: float = arg(0.05, "the same for an item that the user does not care about", least=0, most=1)
    seed: int = arg(0, "random seed of the clicks", least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        if self.noise > self.liked:
            raise InputError(f"--noise {self.noise}: expected at most --liked, {self.liked}")


def run(config: Config) -> None:
    """Reads the world, and the lists at train, valid and test positions; writes impressions.parquet; prints counts."""
    # read
    log = read_events(config.items, config.interactions)
    require_columns(log.events, config.interactions, ("timestamp",))
    positions = select_positions(log.events, list(SLATE_SPLITS), None)
    (top, _), _ = read_lists(config.lists, positions.frame, log, config.shown)
    latent = Latent(config.world)
    times = log.events.select("user_id", "position", "timestamp")
    requests = positions.frame.join(times, on=["user_id", "position"], maintain_order="left").with_columns(
        request_id=pl.format("{}-{}", "user_id", "position"),
        history=id_lists(positions.queries.history(1), log.item_ids),
        item_id=id_lists(top, log.item_ids),
    )
    # clicks
    requests = requests.filter(pl.col("item_id").list.len() > 0)
    impressions = click(show(requests, latent, config), np.random.default_rng(config.seed))
    # write
    write_parquet(impressions, Path(config.output_dir) / "impressions.parquet")
    clicks = impressions["click"].sum()
    print(f"{len(requests)} requests, {len(impressions)} impressions, {clicks} clicks")


def show(requests: pl.DataFrame, latent: Latent, config: Config) -> pl.DataFrame:
    """A row an item of a request, with `position`, `propensity`, `relevance` and `certain`."""
    slates = requests.select("request_id", "history", "item_id", "user_id").iter_rows()
    odds = [latent.odds(Slate(name, history, items, user_id=user)) for name, history, items, user in slates]
    relevance = [config.noise + (config.liked - config.noise) * of_slate / of_slate.max() for of_slate in odds]
    shown = requests.select(
        "request_id",
        "user_id",
        "timestamp",
        "item_id",
        pl.int_ranges(1, pl.col("item_id").list.len() + 1).alias("position"),
        pl.Series("relevance", [of_slate.tolist() for of_slate in relevance]),
    ).explode("item_id", "position", "relevance")
    return shown.with_columns(propensity=pl.col("position").cast(pl.Float64) ** -config.eta, certain=1.0)


def click(shown: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The same with `click`, 0 or 1."""
    odds = (shown["propensity"] * shown["relevance"]).to_numpy()
    return shown.with_columns(click=pl.Series((rng.random(len(odds)) < odds).astype(np.int8)))
