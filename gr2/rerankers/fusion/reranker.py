"""A fusion as a reranker: asks its members, or reads their answers from files, and ranks by what was fitted.

An answer costs what its members' answers cost together: tokens, and time. Where a member's answer is unusable, the
input order stands in for it, as when the fusion was fitted; `reason` then names the member.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gr2.data.features import check_names
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.rankings import BETWEEN, Ranking
from gr2.files.slates import Slate
from gr2.rerankers.fusion.answers import ask, check_file, read_answers, read_milliseconds
from gr2.rerankers.fusion.choose import predict
from gr2.rerankers.fusion.settings import check_settings, describe_file, describe_sampling
from gr2.rerankers.fusion.table import add_features, rank_name, read_members, score_name
from gr2.rerankers.fusion.train import FILE, TREES_FILE
from gr2.rerankers.protocol import Inputs, Reranker, Sampling, rank_by_scores
from gr2.rerankers.record import digests


class Fusion:
    def __init__(self, folder: str, inputs: Inputs, open_member: Callable[[str], Reranker], sampling: Sampling):
        """InputError for files that `gr2 fit fusion` did not write, for other members than the ones it had, and where
        `sampling` is not how its language models were asked.
        """
        path = Path(folder) / FILE
        report = read_json(path)
        self.folder, self.files = folder, inputs.member_rankings
        self.open_member = functools.cache(open_member)  # once, however often it is asked
        try:
            self.members = [member["reranker"] for member in report["members"]]
            self.scored = [member["scored"] for member in report["members"]]
            self.known = [member["files"] for member in report["members"]]
            self.settings = [member["settings"] for member in report["members"]]
            self.model = report["weights"] if "weights" in report else open_trees(Path(folder) / TREES_FILE)
        except (KeyError, TypeError):
            expected = "members, how they were asked, and weights or gains"
            raise InputError(f"{path}: expected {expected}; run `gr2 fit fusion` again") from None
        if self.files:
            self.check_files()
        else:
            self.check_members(sampling)
        names = tuple(self.model) if isinstance(self.model, dict) else self.model.feature_name()
        given = {name(at) for at in range(len(self.members)) for name in (score_name, rank_name)}
        self.names = tuple(name for name in names if name not in given)
        if self.names:
            check_names(self.names, path)
            self.features = inputs.features(folder)

    def check_files(self) -> None:
        """InputError for a wrong number of files, for those of others, or of language models asked otherwise."""
        if len(self.files) != len(self.members):
            expected = f"expected {len(self.members)} files, of {', '.join(self.members)}, in this order"
            raise InputError(f"--member_rankings: {expected}; found {len(self.files)}")
        for member, file, files, fitted in zip(self.members, self.files, self.known, self.settings, strict=True):
            check_file(member, files, file)
            if fitted:
                check_settings(f"--member_rankings {file}", member, fitted, describe_file(file))

    def check_members(self, sampling: Sampling) -> None:
        """InputError for members that changed since, and for language models that would be asked otherwise."""
        for member, files, fitted in zip(self.members, self.known, self.settings, strict=True):
            if digests(member) != files:
                raise InputError(f"{self.folder}: its member {member} is not what it was; run `gr2 fit fusion` again")
            if fitted:
                check_settings(self.folder, member, fitted, describe_sampling(sampling))

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        """InputError for a member without scores that gave some to be fitted on."""
        answers, milliseconds = zip(*self.ask_members(slates), strict=True)
        started = time.monotonic()
        for member, scored, rankings in zip(self.members, self.scored, answers, strict=True):
            missing = next((ranking for ranking in rankings if scored and ranking.scores is None), None)
            if missing:
                advice = "of a language model as `--order first` gives them"
                raise InputError(f"{member}: slate_id '{missing.slate_id}': expected scores, {advice}, found none")
        table = read_members(slates, answers, self.scored)
        if self.names:
            table = add_features(table, self.names, self.features.compute(slates, self.names))
        rankings = rank_by_scores(slates, table.split(predict(self.model, table)))
        spent = sum(milliseconds) + 1000 * (time.monotonic() - started) / len(slates)
        of_slates = zip(rankings, zip(*answers, strict=True), strict=True)
        return [replace(ranking, **self.sum_up(given), latency_ms=spent) for ranking, given in of_slates]

    def sum_up(self, answers: tuple[Ranking, ...]) -> dict:
        """Of the members' answers to a slate: which are unusable, and their tokens, where some have any."""
        faults = [
            f"member{at} {Path(member).name}: {answer.reason or 'unusable'}"
            for at, (member, answer) in enumerate(zip(self.members, answers, strict=True))
            if not answer.valid
        ]
        counted = {}
        for name in ("prompt_tokens", "completion_tokens"):
            known = [vars(answer)[name] for answer in answers if vars(answer)[name] is not None]
            counted[name] = sum(known) if known else None
        return {"reason": BETWEEN.join(faults) or None, **counted}

    def ask_members(self, slates: list[Slate]) -> list[tuple[list[Ranking], float]]:
        """Each one's rankings, and the milliseconds that one took."""
        if not self.files:
            return [ask(self.open_member, member, slates) for member in self.members]
        answers = [read_answers(file, slates) for file in self.files]
        return [(answer, read_milliseconds(file, answer)) for file, answer in zip(self.files, answers, strict=True)]


def open_trees(path: Path):
    """InputError for a file that LightGBM cannot read."""
    import lightgbm

    try:
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"{path}: expected a model of LightGBM ({error})") from None
