"""What runs have left, read back as plain values and tables; without torch."""

from stratoscope.results.frame import DamagedRun, RunRecord, find_runs, load_run, load_runs

__all__ = ["DamagedRun", "RunRecord", "find_runs", "load_run", "load_runs"]
