"""Groups of options of `gr2 slates`."""

from dataclasses import dataclass
from typing import Literal

from gr2.errors import InputError
from gr2.files.names import column_names
from gr2.files.slates import SLATE_SPLITS
from gr2.options.declare import arg

PRE_RANKERS = ("beam", "sasrec", "popularity", "item_knn", "bm25", "file")
LISTED = ("user_id", "position", "timestamp", "candidates", "scores", "sources")  # columns of lists


@dataclass(kw_only=True)
class PreRankerOptions:
    """Which pre-rankers make the lists, and what they need."""

    pre_ranker: list[str] = arg(["beam"], f"what makes the lists: one or more of {', '.join(PRE_RANKERS)}")
    history: int = arg(20, "a slate, and beam, item_knn and bm25, keep the user's latest HISTORY items", least=1)
    exclude_seen: bool = arg(True, "list no item of the user's whole past; turn off where users come back to items")
    sasrec: str | None = arg(None, "sasrec: the folder of `gr2 sasrec`", path=True)
    top_k: str | None = arg(
        None,
        "file: your own lists: user_id, candidates, position or timestamp (of the list), optional scores",
        path=True,
    )
    columns: list[str] = arg([], "file: NAME=COLUMN where a column of --top_k has another name, e.g. candidates=skus")
    semantic_ids: str | None = arg(None, "beam: semantic_ids.parquet", path="semantic_ids.parquet")
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model", path=True)
    beams: int = arg(20, "beam: width of the search; raised to --candidates or --depth if they are larger", least=1)
    window: int = arg(40, "beam: read the latest WINDOW items at most, as in mid-training; at least --history", least=1)
    batch_size: int = arg(16, "beam: stretches of `window` items per batch", least=1)

    def __post_init__(self) -> None:
        names = self.pre_ranker
        option = f"--pre_ranker {' '.join(names)}"
        if not names or set(names) - set(PRE_RANKERS) or len(set(names)) < len(names):
            raise InputError(f"{option}: expected one or more of {', '.join(PRE_RANKERS)}, each once")
        for name in column_names(self.columns):
            if name not in LISTED or "file" not in names:
                raise InputError(f"--columns {name}=...: expected --pre_ranker file and one of {', '.join(LISTED)}")
        if "file" in names and (not self.top_k or len(names) > 1):
            columns = "user_id, candidates, and position or timestamp"
            raise InputError(f"{option}: expected --top_k FILE with {columns}, and no other pre-ranker")
        if self.top_k and "file" not in names:
            raise InputError(f"--top_k {self.top_k}: expected --pre_ranker file, which alone reads it")
        if "sasrec" in names and not self.sasrec:
            raise InputError("--pre_ranker sasrec: expected --sasrec FOLDER, as `gr2 sasrec` wrote it")
        if "beam" in names and not (self.model_name_or_path and self.semantic_ids):
            raise InputError(
                "--pre_ranker beam: expected --model_name_or_path, a mid-trained model, and --semantic_ids"
            )
        if "beam" in names and self.window < self.history:
            raise InputError(f"--window {self.window}: expected at least --history, {self.history}")


@dataclass(kw_only=True)
class Protocol:
    """Which candidates are relevant."""

    protocol: Literal["next", "later", "impressions"] = arg(
        "next", "next: one relevant item, the next; later, impressions: several (gr2/retrieval/protocols.py)"
    )
    relevant: int = arg(6, "later: the user's next RELEVANT items are relevant, and always candidates", least=1)
    others: Literal["retrieved", "matched"] = arg(
        "retrieved",
        "later: the other candidates. retrieved: the pre-ranker's best, which gives the relevant away; matched: "
        "what other users take next, drawn so that only the history tells (gr2/retrieval/matching.py)",
    )
    train_stride: int | None = arg(
        None,
        "later: a train slate at every TRAIN_STRIDE-th position; default: RELEVANT, no event in two slates",
        least=1,
    )
    liked: float = arg(4.0, "impressions: items with this rating or a better one are relevant", least=-1e6, most=1e6)
    shuffle: bool = arg(
        False, "later, impressions: candidates in random order, without scores, which would give the relevant away"
    )
    seed: int = arg(0, "random seed of that order, and of matched others", least=0, most=2**32 - 1)

    def check_later(self, candidates: int) -> None:
        """InputError where `later` has too few candidates, or another protocol an option of `later`."""
        if self.protocol == "later":
            if self.relevant >= candidates:
                raise InputError(f"--relevant {self.relevant}: expected fewer than --candidates, {candidates}")
            return
        for name, default in (("others", "retrieved"), ("train_stride", None)):
            if vars(self)[name] != default:
                raise InputError(f"--{name} {vars(self)[name]}: expected --protocol later, which alone has it")

    def check_splits(self, splits: list[str]) -> None:
        """InputError unless these are splits of slates, or pretrain alone, with a protocol that takes it."""
        if splits != ["pretrain"] and (not splits or set(splits) - set(SLATE_SPLITS)):
            raise InputError(f"--splits {' '.join(splits)}: expected one or more of {', '.join(SLATE_SPLITS)}")
        if splits == ["pretrain"] and self.protocol == "next":
            reason = "with next, the pre-ranker has learned what comes"
            raise InputError(f"--splits pretrain: expected --protocol later or impressions; {reason}")
