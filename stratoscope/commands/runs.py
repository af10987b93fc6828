"""`stratoscope ls`, `show` and `best`: what has been run and what came of it, from the files that runs leave."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from stratoscope.commands.parser import OneLineParser
from stratoscope.errors import Refused, nearest
from stratoscope.results.record import DamagedRun, RunRecord, falls, find_runs, load_run
from stratoscope.results.summary import summary
from stratoscope.results.tables import best_table, run_table
from stratoscope.results.terminal import grid, put

METRICS = ("train/accuracy", "train/loss", "test/accuracy", "test/loss")  # those of every classifier


def parser(command: str) -> OneLineParser:
    """The parser of a command, without the command itself.

    Args:
        command: ls, show or best.
    """
    what = {
        "ls": "One line per run: how far it is and what its accuracies are.",
        "show": "Everything about one run.",
        "best": "Runs ranked by the best value of a metric.",
    }
    made = OneLineParser(f"stratoscope {command}", description=what[command])
    if command == "show":
        made.add_argument("id", metavar="ID", help="The run's name, any part of it that no other run has, or its path.")
        made.add_argument("--runs", metavar="FOLDER", default="runs", help="Folder of all run directories.")
        return made
    if command == "best":
        made.add_argument("metric", metavar="METRIC", help="Such as test/accuracy: a column of metrics.csv.")
    made.add_argument("folder", metavar="FOLDER", nargs="?", default="runs", help="Folder of all run directories.")
    if command == "ls":
        made.add_argument("--sort", metavar="METRIC", help="Sort by the last value of a metric, best first.")
    else:
        made.add_argument("--min", action="store_true", help="Small is good, as it always is for ...loss and ...error.")
        made.add_argument("--n", type=int, default=10, help="How many runs to show; 10 by default.")
    return made


def ls(words: Sequence[str]) -> int:
    """List runs.

    Args:
        words: The command line, as for `show` and `best`.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If the input is wrong.
    """
    given = parser("ls").parse_args(words[1:])
    runs, damaged = _all_of("ls", given.folder)
    if given.sort:
        check_metric("--sort", given.sort, runs)
    put(*run_table(runs, given.sort, falls(given.sort or "")), *_left_out(damaged))
    return 0


def show(words: Sequence[str]) -> int:
    """Show everything about one run; see `ls`."""
    given = parser("show").parse_args(words[1:])
    put(*summary(chosen(given.id, given.runs)))
    return 0


def best(words: Sequence[str]) -> int:
    """Rank runs by a metric; see `ls`.

    Raises:
        Refused: If no run has it.
    """
    given = parser("best").parse_args(words[1:])
    runs, damaged = _all_of("best", given.folder)
    if given.n < 1:
        raise Refused(f"best: --n must be 1 or more, got {given.n}")
    check_metric("best", given.metric, runs)
    put(*best_table(runs, given.metric, given.min or falls(given.metric), given.n), *_left_out(damaged))
    return 0


def _all_of(command: str, folder: str) -> tuple[dict[str, RunRecord], list[DamagedRun]]:
    runs, damaged = read(folder)
    if not runs and not damaged:
        raise Refused(f"{command}: there are no runs in {folder}")
    return runs, damaged


def _left_out(damaged: Sequence[DamagedRun]) -> list[Table]:
    return [grid([("left out", str(error)) for error in damaged])] if damaged else []


def read(folder: str) -> tuple[dict[str, RunRecord], list[DamagedRun]]:
    """All runs below a folder, without what is known of their layers, by path below it, in the order they began.

    Args:
        folder: Folder of all run directories.

    Returns:
        The runs, and what is wrong with those that could not be read.

    Raises:
        Refused: If there is no such folder.
    """
    top = Path(folder).expanduser()
    runs: dict[str, RunRecord] = {}
    damaged: list[DamagedRun] = []
    for path in _found(folder):
        try:
            run = load_run(path, layers=False)
        except DamagedRun as error:
            damaged.append(error)
            continue
        runs[run.name if path == top else path.relative_to(top).as_posix()] = run
    return dict(sorted(runs.items(), key=lambda item: str(item[1].record.get("started", "")))), damaged


def chosen(name: str, folder: str, command: str = "show") -> RunRecord:
    """The one run that is meant.

    Args:
        name: Its name, a part of it that no other run has, or its path.
        folder: Folder of all run directories.
        command: That asks for it.

    Raises:
        Refused: If none or several have it, or the one is damaged.
    """
    path = Path(name).expanduser()
    if not (name and (path / "run.json").is_file()):
        top = Path(folder).expanduser()
        paths = {one.relative_to(top).as_posix(): one for one in _found(folder)}
        part = name.strip("/")
        found = [one for one in paths if part in {one, Path(one).name}] or [one for one in paths if part in one]
        if len(found) > 1:
            raise Refused(f"{command}: {len(found)} runs have {name!r} in their name: {_some(found)}")
        if not found:
            last = {Path(one).name: one for one in paths}
            hint = nearest(part, [*paths, *last]) or (f"; there are {_some(list(paths))}" if paths else "")
            raise Refused(f"{command}: there is no run {name!r} in {folder}{hint}")
        path = paths[found[0]]
    try:
        return load_run(path)
    except DamagedRun as error:
        raise Refused(f"{command}: {error}") from error


def check_metric(where: str, metric: str, runs: dict[str, RunRecord]) -> None:
    """See to it that some run has a metric.

    Args:
        where: What stands before the message.
        metric: Its name.
        runs: All runs.

    Raises:
        Refused: If none has it; with the nearest one.
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run.metric_names))
    if metric not in names:
        few = [name for name in names if not name.startswith(("probe/", "online_probe/"))]
        hint = nearest(metric, names) or (f"; there are {_some(few)}" if few else "")
        raise Refused(f"{where}: no run has a metric {metric}{hint}")


def _found(folder: str) -> list[Path]:
    try:
        return find_runs(folder)
    except FileNotFoundError as error:
        raise Refused(str(error)) from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
