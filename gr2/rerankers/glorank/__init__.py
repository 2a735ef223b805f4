"""GloRank (2604.25291): reranking as generation of semantic IDs in a space of actions that all requests share."""
