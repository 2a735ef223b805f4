"""What a reward pays on average for orders that look at nothing, so that a hack is seen before it is learned.

GR2's conditional reward (2602.07774) gives nothing for copying an input order whose first item is wrong. But it pays
its bonus for any promotion, and moving the first item to the end promotes all the others by one. With K candidates of
which the first is the target in a share p of slates, that earns (1 - p)(1/K + alpha) - p(K - 1)/K against p alpha of a
copy: more wherever p < (1/K + alpha) / (1 + 2 alpha), .21 at K = 10 and alpha = .2. (GR2's own lists have p = .29.)
"""

from collections.abc import Callable, Sequence

from gr2.files.slates import Slate

COPY, NEARLY = "a copy", "the second before the first"
ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    COPY: lambda candidates: candidates,
    "the first moved to the end": lambda candidates: candidates[1:] + candidates[:1],
    NEARLY: lambda candidates: candidates[1::-1] + candidates[2:],
    "the reverse": lambda candidates: candidates[::-1],
}


def mean_rewards(reward: Callable[..., float], slates: Sequence[Slate], alpha: float) -> dict[str, float]:
    """The mean of `reward` over the slates, for each of ORDERS."""
    return {
        name: sum(reward(order(slate.candidates), slate, alpha) for slate in slates) / len(slates)
        for name, order in ORDERS.items()
    }


def describe(means: dict[str, float]) -> str:
    """One sentence on what each order earns, for the terminal."""
    return "blind orders would earn: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())


def find_hack(means: dict[str, float]) -> str | None:
    """The blind order that pays best, unless it is (nearly) a copy, for which rewards with a de-hacked rule pay."""
    best = max(means, key=means.__getitem__)
    return None if best in (COPY, NEARLY) else best
