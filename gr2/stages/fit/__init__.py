"""`gr2 fit KIND`: slates -> a small reranker's folder, for `gr2 rerank --reranker FOLDER`. One file per kind."""
