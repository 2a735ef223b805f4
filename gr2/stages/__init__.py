"""Every command that makes something: `gr2 NAME` is the module gr2/stages/NAME.py, with its options, `Config`, and `run`."""

# In the order in which data flows.
STAGES = {
    "prepare": "a source -> items.parquet, interactions.parquet (cleaned, k-core, split)",
    "embed": "items -> embeddings.safetensors",
    "sids": "embeddings -> semantic_ids.parquet, quantizer, quality.json, quality.html",
    "sids-ablate": "every combination of an RQ-VAE's switches -> what each is worth",
    "embed-shards": "item shards -> embedding shards, by Ray (large catalogues)",
    "assign-shards": "embedding shards + a quantizer -> semantic ID shards, by Ray",
    "midtrain": "items, interactions, semantic IDs, a base model -> a model that speaks the IDs",
    "sasrec": "interactions -> a SASRec pre-ranker's folder",
    "slates": "interactions + a pre-ranker -> slates.parquet (lists to rerank)",
    "facts": "slates -> the same with facts of each candidate that a prompt may show",
    "traces": "slates + a teacher -> traces.jsonl (reasoning traces, accepted or not)",
    "sft": "accepted traces + a model -> a model that reasons and reranks",
    "rl": "slates + a model -> the same model after reinforcement learning (DAPO)",
    "distil": "slates + a student + a teacher -> the student after on-policy distillation",
    "fit": "slates -> a small reranker's folder (logistic blend, LambdaMART, PRM, GloRank)",
    "rerank": "slates + any reranker -> rankings.parquet",
    "evaluate": "slates + rankings -> metrics.json, report.html",
    "evaluate-retrieval": "pre-rankers' lists over the full catalogue -> metrics.json, report.html",
}


def module_of(stage: str) -> str:
    """`sids-ablate` -> `gr2.stages.sids_ablate`."""
    return "gr2.stages." + stage.replace("-", "_")
