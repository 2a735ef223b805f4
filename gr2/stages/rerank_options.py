"""A group of options of `gr2 rerank`."""

from dataclasses import dataclass

from gr2.options.declare import arg


@dataclass(kw_only=True)
class ProbeOptions:
    """What is asked beside the slates themselves: the same in other orders, and some of them alone."""

    shuffles: int = arg(
        0,
        "answer slates also with their candidates in this many random orders (shuffled.parquet): `gr2 evaluate` then "
        "says how far answers depend on the order",
        least=0,
    )
    shuffled_slates: int = arg(100, "how many slates --shuffles uses, drawn at random under the seed", least=1)
    alone: int = arg(
        50,
        "then ask this many of the slates again, one at a time, for at most ten seconds: timing.json says how long a "
        "single request waits (not with engines openai and ray); 0: none",
        least=0,
    )
