"""The first sentence of a report: what the best learned system gains over the input order and the other baselines."""

from gr2.page.render import fixed, p_value, signed

COMPUTED = ("input_order", "random", "oracle")
# Baselines by their usual names: the sentence is about another system where there is one.
REFERENCES = ("blend", "lambdamart", "popularity", "rarest", "reversed", "sasrec", "prm")


def headline(results: dict, metric: str) -> dict[str, str]:
    """The best learned system against every baseline on `metric`, an NDCG: the `text`, and a `tone`: good where it beats
    them all, bad where it is worse than the input order, else open.
    """
    systems = results["systems"]
    baselines = list(dict.fromkeys(row["baseline"] for row in results["comparisons"]))
    given = [name for name in systems if name not in COMPUTED]
    compared = [name for name in given if name not in baselines]
    learned = [name for name in compared if name not in REFERENCES] or compared or given
    if not learned:
        return {"tone": "open", "text": "No system was given to compare with the input order."}
    best = max(learned, key=lambda name: systems[name][metric])
    rows = {row["baseline"]: row for row in results["comparisons"] if (row["system"], row["metric"]) == (best, metric)}
    text = best + named_seeds(results, best) + " " + "; ".join(against(row, systems) for row in rows.values())
    if systems[best]["invalid_rate"] > 0:
        text += (
            f". {100 * systems[best]['invalid_rate']:.0f} % of its answers were unusable; there the input order stands"
        )
    if len(learned) > 1:
        text += f". It is the best of {len(learned)} systems on these very slates, which flatters it a little"
    signs = {name: sign(row) for name, row in rows.items()}
    tone = "bad" if signs["input_order"] < 0 else "good" if min(signs.values()) > 0 else "open"
    return {"tone": tone, "text": text + "."}


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
            0: f"does not beat the input order: the difference cannot be told from chance, {signed(row['delta'])} {unit}, "
            + figures,
        }[sign(row)]
    elif row["ci_low"] is None:
        return f"nor against {row['baseline']}: {fixed(base)}"
    elif sign(row):
        verdict = f"it is {size} {'above' if row['delta'] > 0 else 'below'} {row['baseline']}"
    else:
        verdict = f"it cannot be told from {row['baseline']}, {signed(row['delta'])}"
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
