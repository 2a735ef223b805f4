"""The register of commands: `gr2 NAME` is the module gr2/stages/NAME.py, with its options, `Config`, and `run`."""

# `gr2 fit KIND` is the module gr2/stages/fit/KIND.py.
FIT = {
    "blend": "logistic regression on a candidate's features",
    "lambdamart": "boosted trees on the same features",
    "prm": "PRM, a Transformer over the slate that scores each candidate",
    "one_pass": "a language model that scores all candidates in one pass, beside their features",
    "fusion": "one score from several rerankers' scores and ranks, and the features",
    "glorank": "a writer of lists, one item after the other; also by reinforcement learning",
    "evaluator": "the value of a whole list; degre and goalrank learn from it, evaluate measures with it",
    "degre": "a writer of lists that learns from lists which the evaluator prefers",
    "goalrank": "a writer of lists that learns the evaluator's distribution over groups of lists",
}

# In the order in which data flows.
GROUPS = {
    "Data": {
        "prepare": "a source -> items.parquet, interactions.parquet (cleaned, k-core, split)",
        "embed": "items -> embeddings.safetensors",
    },
    "Semantic IDs": {
        "sids": "embeddings -> semantic_ids.parquet, quantizer, quality.json, quality.html",
        "sids-ablate": "every combination of an RQ-VAE's switches -> the effect of each",
        "embed-shards": "item shards -> embedding shards, by Ray (large catalogues)",
        "assign-shards": "embedding shards + a quantizer -> semantic ID shards, by Ray",
    },
    "Language model": {
        "midtrain": "items, interactions, semantic IDs, a base model -> a model that speaks the IDs",
    },
    "Lists": {
        "sasrec": "interactions -> a SASRec pre-ranker's folder",
        "slates": "interactions + a pre-ranker -> slates.parquet (lists to rerank)",
        "impressions": "a log of what was shown and clicked -> slates.parquet, with positions and propensities",
        "simulate-clicks": "lists shown to a synthetic world's users -> impressions.parquet, whose truth is known",
        "facts": "slates -> the same with facts of each candidate that a prompt may show",
    },
    "Teaching": {
        "traces": "slates + a teacher -> traces.jsonl (reasoning traces, accepted or not)",
        "template": "slates, or a reranker's order of them -> traces.jsonl (explanations from a template)",
        "sft": "accepted traces + a model -> a model that reasons and reranks",
        "rl": "slates + a model -> the same model after reinforcement learning (DAPO)",
        "distil": "slates + a student + a teacher -> the student after on-policy distillation",
    },
    "Rerankers": {
        **{f"fit {kind}": about for kind, about in FIT.items()},
        "rerank": "slates + any reranker -> rankings.parquet",
        "export": "a writer of lists -> one ONNX program for a server, without gr2",
    },
    "Evaluation": {
        "promote": "today's reranker and the one that serves, compared -> which of them serves from now on",
        "evaluate": "slates + rankings -> metrics.json, report.html",
        "evaluate-retrieval": "interactions + top-K lists of the whole catalogue -> metrics.json, report.html",
    },
}
STAGES = {name: about for commands in GROUPS.values() for name, about in commands.items()}


def module_of(stage: str) -> str:
    """`sids-ablate` -> `gr2.stages.sids_ablate`, `fit prm` -> `gr2.stages.fit.prm`."""
    return "gr2.stages." + stage.replace("-", "_").replace(" ", ".")
