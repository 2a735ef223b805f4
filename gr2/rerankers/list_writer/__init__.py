"""Rerankers that write a list item by item: GloRank, DeGRe and what they are compared with."""
