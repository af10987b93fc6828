"""`stratoscope report FOLDER ...`: write the report of an experiment again."""

from collections.abc import Sequence
from pathlib import Path

from stratoscope.commands.parser import OneLineParser
from stratoscope.printable import printable


def parser(command: str = "report") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(f"stratoscope {command}", "Write the report of an experiment again, from the runs there are.")
    folder = "Of the runs of an experiment at one scale, such as runs/zhang2017_figure1/small."
    made.add_argument("folders", metavar="FOLDER", nargs="+", help=folder)
    return made


def report(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If a folder is not that of an experiment.
    """
    asked = parser().parse_args(words[1:])
    from stratoscope.experiments.report import write_report  # which imports torch

    for folder in asked.folders:
        print(printable(write_report(Path(folder))))
    return 0
