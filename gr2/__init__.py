"""gr2: turns a language model into a reasoning reranker for recommender systems (method: GR2, arXiv 2602.07774)."""

__version__ = "0.1.0"
