"""The report of an experiment: one page, with the pictures and tables beside it as files."""

from stratoscope.report.writing import report, write_report

__all__ = ["report", "write_report"]
