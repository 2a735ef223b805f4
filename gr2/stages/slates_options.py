"""The options of `gr2 slates`."""

from dataclasses import dataclass
from typing import Literal

from gr2.errors import InputError
from gr2.files.tables import SLATE_SPLITS
from gr2.options.declare import arg

PRE_RANKERS = ("beam", "sasrec", "popularity", "item_knn", "bm25", "file")


@dataclass
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path="interactions.parquet")
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    semantic_ids: str | None = arg(None, "beam: semantic_ids.parquet", path="semantic_ids.parquet")
    pre_ranker: list[str] = arg(["beam"], f"who makes the lists: one or more of {', '.join(PRE_RANKERS)}")
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model", path=True)
    sasrec: str | None = arg(None, "sasrec: the folder of `gr2 sasrec`", path=True)
    top_k: str | None = arg(
        None,
        "file: your own ranker's lists, a table with user_id, position, candidates, optional scores",
        path="top_k.parquet",
        named=True,
    )
    candidates: int = arg(10, "items a slate holds (GR2: 10)", least=1)
    depth: int | None = arg(
        None,
        "also write top_k.parquet, the first DEPTH items at every position, for `gr2 evaluate --top_k`; beam searches at least "
        "as wide",
        least=1,
    )
    beams: int = arg(20, "beam: width of the search, at least `candidates`", least=1)
    history: int = arg(
        20, "most recent items of the user that a slate holds, and that beam, item_knn and bm25 look at", least=1
    )
    exclude_seen: bool = arg(
        True, "list no item that the user's whole past holds; turn off where users come back to items"
    )
    window: int = arg(40, "beam: the most past items that are read, at least `history`; as in mid-training", least=1)
    batch_size: int = arg(16, "beam: stretches of `window` items a batch", least=1)
    splits: list[str] = arg(list(SLATE_SPLITS), "positions of these splits")
    protocol: Literal["next", "later", "impressions"] = arg(
        "next", "next: one relevant item, the next; later, impressions: several (gr2/retrieval/protocols.py)"
    )
    relevant: int = arg(
        6, "protocol later: the next RELEVANT items are relevant, and candidates whatever the pre-ranker says", least=1
    )
    liked: float = arg(
        4.0, "protocol impressions: relevant are items with this rating or a better one", least=-1e6, most=1e6
    )
    shuffle: bool = arg(
        False,
        "later, impressions: candidates in random order, without scores: neither says whom the pre-ranker would have left out",
    )
    seed: int = arg(0, "of that order", least=0, most=2**32 - 1)
    keep_missed: bool = arg(False, "also keep train slates without the target, labels all 0, for what needs no label")
    train_horizon: int = arg(
        1, "train: candidates among the user's next TRAIN_HORIZON train events are relevant", least=1
    )
    max_positions: int | None = arg(
        None, "the latest MAX_POSITIONS positions of a user in each split; none: all", least=1
    )

    def __post_init__(self) -> None:
        check_pre_rankers(self)
        if not self.splits or set(self.splits) - set(SLATE_SPLITS):
            raise InputError(f"--splits {' '.join(self.splits)}: expected one or more of {', '.join(SLATE_SPLITS)}")
        if self.protocol == "next":
            if self.shuffle:
                raise InputError(
                    "--shuffle true: expected --protocol later or impressions; of next the input order is the baseline"
                )
            return
        for name in ("depth", "keep_missed", "max_positions"):
            if vars(self)[name]:
                raise InputError(f"--{name} {vars(self)[name]}: expected --protocol next, which alone has it")
        if self.train_horizon > 1:
            raise InputError(f"--train_horizon {self.train_horizon}: expected --protocol next, which alone has it")
        if {"file", "beam"} & set(self.pre_ranker):
            raise InputError(f"--pre_ranker {' '.join(self.pre_ranker)}: expected others than file and beam: protocol "
                             f"{self.protocol} needs a score of every item")  # fmt: skip
        if self.protocol == "later" and self.relevant >= self.candidates:
            raise InputError(f"--relevant {self.relevant}: expected fewer than --candidates, {self.candidates}")


def check_pre_rankers(config: Config) -> None:
    """InputError unless every pre-ranker is known and has the files and options that it needs."""
    names = config.pre_ranker
    if not names or set(names) - set(PRE_RANKERS) or len(set(names)) < len(names):
        raise InputError(f"--pre_ranker {' '.join(names)}: expected one or more of {', '.join(PRE_RANKERS)}, each once")
    if "file" in names and (not config.top_k or len(names) > 1):
        raise InputError(f"--pre_ranker {' '.join(names)}: expected --top_k FILE with user_id, position, candidates, and no "
                         "other pre-ranker")  # fmt: skip
    if config.top_k and "file" not in names:
        raise InputError(f"--top_k {config.top_k}: expected --pre_ranker file, which alone reads it")
    if "sasrec" in names and not config.sasrec:
        raise InputError("--pre_ranker sasrec: expected --sasrec FOLDER, as `gr2 sasrec` wrote it")
    if "beam" in names:
        if not config.model_name_or_path or not config.semantic_ids:
            raise InputError(
                "--pre_ranker beam: expected --model_name_or_path, the mid-trained model, and --semantic_ids"
            )
        if config.window < config.history:
            raise InputError(f"--window {config.window}: expected at least --history, {config.history}")
