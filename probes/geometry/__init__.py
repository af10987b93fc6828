"""The geometry of features: rank, collapse, neighbours, similarity."""
