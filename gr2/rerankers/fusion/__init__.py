"""A fusion of rerankers: its members' scores and ranks, beside the usual features, in one score."""
