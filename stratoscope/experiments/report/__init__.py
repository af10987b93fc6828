"""The report of an experiment: one page, with the pictures and tables beside it as files."""

from stratoscope.experiments.report.writing import write_report

__all__ = ["write_report"]
