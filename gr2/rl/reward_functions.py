"""The rewards in the form in which TRL calls them. The first is the ranking reward, whose spread dynamic sampling goes by."""

import warnings
from collections.abc import Callable

from trl.rewards import get_soft_overlong_punishment

from gr2.files.slates import Slate
from gr2.prompts.answer import Answer
from gr2.rl.diagnostics import diagnose
from gr2.rl.rewards import REWARDS
from gr2.rl.validation import ReadAnswer


def reward_functions(
    name: str, alpha: float, read: ReadAnswer, known: set[int], max_tokens: int, overlong_cache: int
) -> list[Callable[..., list[float]]]:
    """The ranking reward `name` and, with overlong_cache, DAPO's penalty for the last tokens of `max_tokens`.

    known: the tokenizer's tokens. An answer with another one, which decodes to nothing, is unusable.
    """

    def ranking_reward(
        completions, completion_ids, slate_id, candidates, labels, shown, log_metric, **_
    ) -> list[float]:
        """Parses each completion, logs the diagnostics, returns one float per completion."""
        slates = [Slate(*row) for row in zip(slate_id, [[]] * len(slate_id), candidates, labels, strict=True)]
        answers = [
            read(turns[0]["content"], slate.candidates) if known.issuperset(ids) else Answer(reason="unknown_id")
            for turns, ids, slate in zip(completions, completion_ids, slates, strict=True)
        ]
        metrics = diagnose(answers, slates, shown)
        for metric, value in metrics.items():
            log_metric(metric, value)
        if metrics["valid"] == 0:
            warnings.warn(
                "a whole batch of unusable answers: nothing can be learned from it (more SFT, or structured: true)",
                stacklevel=2,
            )
        return [REWARDS[name](answer.ranking, slate, alpha) for answer, slate in zip(answers, slates, strict=True)]

    if not overlong_cache:
        return [ranking_reward]
    return [ranking_reward, get_soft_overlong_punishment(max_tokens, overlong_cache)]
