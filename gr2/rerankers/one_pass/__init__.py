"""A language model that scores all candidates of a slate in one pass; gr2/rerankers/one_pass/network.py says how."""
