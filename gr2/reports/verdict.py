"""The first sentences of a report: the best learned system against every baseline, then what all others gain or
lose against the input order, the worst first.
"""

from gr2.reports.render import fixed, p_value, signed


def headline(results: dict, metric: str) -> dict[str, str]:
    """The best learned system against every baseline on `metric`, an NDCG (`text`), then all others against the input
    order (`more`, may be empty). `tone`: good where the best beats all baselines and no other is worse than the input
    order, bad where the best is worse than the input order, else open.

    `kinds` says which systems are learned (see `kinds.find_kind`). Language models come before rerankers on features:
    where there are any, the first sentence is about the best of them. A system of `against` is not the one it is about.
    """
    systems = results["systems"]
    given = list(results["kinds"])
    if not given:
        return {"tone": "open", "text": "No system was given to compare with the input order.", "more": ""}
    leading, best = candidates(results), find_leader(results, metric)
    rows = {row["baseline"]: row for row in results["comparisons"] if (row["system"], row["metric"]) == (best, metric)}
    text = best + named_seeds(results, best) + " " + "; ".join(against(row, systems) for row in rows.values())
    if systems[best]["invalid_rate"] > 0:
        text += f". {unusable(systems[best]).capitalize()} of its answers were unusable; there the input order stands"
    more = []
    if len(leading) > 1:
        kind = results["kinds"][best]
        beside = " and ".join(name for name in results["against"] if results["kinds"][name] == kind)
        chosen = ("systems" if kind == "reference" else f"{kind}s") + (f" beside {beside}" if beside else "")
        more.append(f"It is the best of {len(leading)} {chosen} on these very slates, which flatters it a little.")
    trained = {name for name, kind in results["kinds"].items() if kind != "reference"} - {best}
    gains = [row for row in results["comparisons"] if (row["baseline"], row["metric"]) == ("input_order", metric)]
    others = [row for row in gains if row["system"] in trained]
    if others:
        clauses = [clause(row, results) for row in sorted(others, key=lambda row: row["delta"])]
        named = "system" if len(others) == 1 else "systems"
        more.append(f"The other learned {named} against the input order, {metric.upper()}: {'; '.join(clauses)}.")
    signs = {name: sign(row) for name, row in rows.items()}
    worse = any(sign(row) < 0 for row in others)
    tone = "bad" if signs["input_order"] < 0 else "good" if min(signs.values()) > 0 and not worse else "open"
    return {"tone": tone, "text": text + ".", "more": " ".join(more)}


def additions(results: dict, metric: str) -> dict[str, str] | None:
    """What each language model adds to the best small reranker, with a `tone` as in `headline`; None without both."""
    base = results["strongest_reranker"]
    models = [name for name, kind in results["kinds"].items() if kind == "language model"]
    if base is None or not models:
        return None
    rows = [row for row in results["comparisons"] if (row["baseline"], row["metric"]) == (base, metric)]
    rows = sorted((row for row in rows if row["system"] in models), key=lambda row: -row["delta"])
    figure, others = results["systems"][base][metric], sum(kind == "reranker" for kind in results["kinds"].values()) - 1
    chosen = f", the best of {others + 1} on these very slates" if others else ""
    clauses = [added(row, figure, results) for row in rows]
    text = f"What a language model adds to the best small reranker, {base} ({metric.upper()} {fixed(figure)}{chosen}): "
    best = max(map(sign, rows))
    return {"tone": {1: "good", 0: "open", -1: "bad"}[best], "text": text + "; ".join(clauses) + "."}


def added(row: dict, base: float, results: dict) -> str:
    """`sft +0.012 (+2.3 %, 95 % interval +0.003 to +0.021, p = 0.010)`."""
    name = row["system"] + named_seeds(results, row["system"]).rstrip(",")
    figures = evidence(row, base) if row["ci_low"] is not None else "all slates are one user's"
    doubt = "" if sign(row) else ", not significant"
    return f"{name} {signed(row['delta'])} ({figures}){doubt}"


def find_leader(results: dict, metric: str) -> str:
    """The system that the first sentence is about."""
    return max(candidates(results), key=lambda name: results["systems"][name][metric])


def candidates(results: dict) -> list[str]:
    """The systems whose best comes first: language models, else other learned ones, not of `against`; else all."""
    kinds, against = results["kinds"], results["against"]
    for kind in ("language model", "reranker"):
        found = [name for name in kinds if kinds[name] == kind and name not in against]
        if found:
            return found
    return [name for name in kinds if name not in against] or list(kinds)


def clause(row: dict, results: dict) -> str:
    """`rl is worse, −0.031 (−8.3 %, 95 % interval −0.040 to −0.021, p < 0.001; 3 % of its answers unusable)`."""
    name, systems = row["system"], results["systems"]
    known = row["ci_low"] is not None
    doubt = "is not significantly different" if known else "cannot be judged"
    verdict = {1: "is better", -1: "is worse", 0: doubt}[sign(row)]
    notes = [evidence(row, systems["input_order"][row["metric"]])] if known else []
    if systems[name]["invalid_rate"] > 0:
        notes.append(f"{unusable(systems[name])} of its answers unusable")
    seeds = f", {len(results['seeds'][name]['identity_rate'])} seeds," if name in results["seeds"] else ""
    return f"{name}{seeds} {verdict}, {signed(row['delta'])}" + (f" ({'; '.join(notes)})" if notes else "")


def unusable(system: dict) -> str:
    """The share of unusable answers; never 0 %."""
    return f"{100 * system['invalid_rate']:.0f} %" if system["invalid_rate"] >= 0.005 else "under 1 %"


def against(row: dict, systems: dict) -> str:
    """`beats the input order by ..`, or for another baseline `it is .. below blend`."""
    metric, size = row["metric"], fixed(abs(row["delta"]))
    base, unit = systems[row["baseline"]][metric], metric.upper()
    if row["baseline"] == "input_order":
        figures = f"{fixed(systems[row['system']][metric])} against {fixed(base)}"
        if row["ci_low"] is None:
            return f"cannot be judged against the input order, all slates are one user's: {unit} {figures}"
        verdict = {
            1: f"beats the input order by {size} {unit}, {figures}",
            -1: f"is worse than the input order by {size} {unit}, {figures}",
            0: "does not beat the input order: the difference is not significant, "
            f"{signed(row['delta'])} {unit}, {figures}",
        }[sign(row)]
    elif row["ci_low"] is None:
        return f"nor against {row['baseline']}: {fixed(base)}"
    elif sign(row):
        verdict = f"it is {size} {'above' if row['delta'] > 0 else 'below'} {row['baseline']}"
    else:
        verdict = f"it is not significantly different from {row['baseline']}, {signed(row['delta'])}"
    return f"{verdict} ({evidence(row, base)})"


def evidence(row: dict, base: float) -> str:
    """`+5.3 %, 95 % interval +0.005 to +0.036, p = 0.002`."""
    relative = f"{signed(100 * row['delta'] / base, 1)} %, " if base else ""
    return f"{relative}95 % interval {signed(row['ci_low'])} to {signed(row['ci_high'])}, {p_value(row['p_value'])}"


def sign(row: dict) -> int:
    """1 or -1 where the interval excludes zero, else 0."""
    return 0 if row["ci_low"] is None else int(row["ci_low"] > 0) - int(row["ci_high"] < 0)


def named_seeds(results: dict, name: str) -> str:
    return f", the mean of {len(results['seeds'][name]['identity_rate'])} seeds," if name in results["seeds"] else ""
