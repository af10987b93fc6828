"""`stratoscope report RUN ...`: the page of a run, or the report of an experiment again."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stratoscope.commands.parser import OneLineParser
from stratoscope.commands.runs import chosen
from stratoscope.errors import Refused
from stratoscope.printable import printable
from stratoscope.results.record import DamagedRun, load_run

PAUSE, SHARE = 2.0, 0.1  # seconds between two looks at a run, and how much of the time its page may take


def parser(command: str = "report") -> OneLineParser:
    """The parser of the command."""
    about = "Write the page of a run as far as it is, or the report of an experiment again: report.html in its folder."
    made = OneLineParser(f"stratoscope {command}", about)
    what = "A run: its name, any part of it that no other run has, or its path. Or the folder of an experiment's runs "
    made.add_argument("of", metavar="RUN", nargs="+", help=f"{what}at one scale, such as runs/zhang2017_figure1/small.")
    made.add_argument("--follow", action="store_true", help="Write a run's page again and again until the run ends.")
    made.add_argument("--runs", metavar="FOLDER", default="runs", help="Folder of all run directories.")
    return made


def report(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If something is neither a run nor a folder of an experiment.
    """
    asked = parser().parse_args(words[1:])
    if asked.follow and len(asked.of) > 1:
        raise Refused(f"report: --follow follows one run, got {len(asked.of)}")
    for name in asked.of:
        folder = Path(name).expanduser()
        if folder.is_dir() and not (folder / "run.json").is_file():
            if asked.follow:
                raise Refused(f"report: --follow follows a run, and {folder} is none")
            from stratoscope.experiments.report import write_report  # which imports torch

            print(printable(write_report(folder)))
        else:
            _page(chosen(name, asked.runs, "report").path, asked.follow)
    return 0


def _page(folder: Path, follow: bool) -> None:
    """Write a run's page, and again whenever there is something new until the run ends.

    Raises:
        Refused: If the run is damaged.
    """
    from stratoscope.pages.run_page import PAGE, write_run_page  # which imports torch

    print(printable(f"page: {folder / PAGE}"), flush=True)
    try:
        try:
            if follow:
                _follow(folder, write_run_page)
        finally:  # also if it is interrupted: a page that does not load itself again
            write_run_page(folder)
    except DamagedRun as error:
        raise Refused(f"report: {error}") from error


def _follow(folder: Path, write: Callable[[Path, int], object]) -> None:
    seen: object = None
    while load_run(folder, layers=False).status == "running":
        began = time.monotonic()
        if seen != (seen := _state(folder)):
            write(folder, round(2 * PAUSE))
        time.sleep(max(PAUSE, (time.monotonic() - began) / SHARE))


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """By which it is known whether a run has left something new."""
    files = sorted([folder / "run.json", *folder.glob("*.csv")])
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
