"""One display for all that a run does; it serves instruments."""
