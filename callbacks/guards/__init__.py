"""Guards: they keep a run exact, or stop it before it is spoilt."""
