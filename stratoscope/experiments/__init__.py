"""Experiments: a figure or table of a paper as one file, its grid of runs, what they show, and how that is judged."""
