"""The tables of `stratoscope ls` and `stratoscope best`."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.text import Text

from stratoscope.results.flat_config import differing
from stratoscope.results.record import RunRecord
from stratoscope.results.terminal import columns

COLOURS = {"finished": "green", "running": "cyan", "interrupted": "yellow", "stopped": "red", "failed": "red"}
ACCURACIES = {"train %": "train/accuracy", "test %": "test/accuracy"}


def run_table(runs: Mapping[str, RunRecord], sort: str | None, smallest: bool) -> list[RenderableType]:
    """One line per run, below what all have in common.

    Args:
        runs: By name.
        sort: The metric whose last value decides the order, best first; None leaves it as it is.
        smallest: Whether its small values are good.
    """
    if sort:
        sign = 1 if smallest else -1
        last = {name: run.last(sort) for name, run in runs.items()}
        runs = {
            name: runs[name] for name in sorted(runs, key=lambda name: (last[name] is None, sign * (last[name] or 0)))
        }
    common, apart = told_apart(runs)
    heads = ["run", "status", "epochs", *ACCURACIES]
    more = [sort] if sort and sort not in ACCURACIES.values() else []
    rows: list[list[Text | str]] = []
    for name, run in runs.items():
        shown = [percent(run.last(metric)) for metric in ACCURACIES.values()]
        shown += [number(run.last(metric)) for metric in more]
        rows.append([name, status(run), epochs(run), *shown, apart[name]])
    heads += [*more, "what"]
    if not any(apart.values()):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return [*common, columns(heads, rows, ["run", "status", "what"], ["run", "what", *more])]


def best_table(runs: Mapping[str, RunRecord], metric: str, smallest: bool, most: int) -> list[RenderableType]:
    """The runs with the best values of a metric.

    Args:
        runs: By name.
        metric: Its name.
        smallest: Whether small values are good.
        most: How many runs to show.
    """
    best = {name: found for name, run in runs.items() if (found := run.best(metric, smallest))}
    ranked = sorted(best, key=lambda name: best[name][1], reverse=not smallest)
    common, apart = told_apart({name: runs[name] for name in ranked})
    rows: list[list[Text | str]] = []
    for place, name in enumerate(ranked[:most], 1):
        epoch, value = best[name]
        last = number(runs[name].last(metric))
        rows.append([str(place), name, number(value), str(epoch), last, epochs(runs[name]), apart[name]])
    heads = ["", "run", "best", "at epoch", "last", "epochs", "what"]
    if not any(apart.values()):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    count = f"; the first {most} of {len(ranked)}" if most < len(ranked) else ""
    title = Text(f"{metric}, {'smallest' if smallest else 'largest'} first{count}")
    return [title, *common, columns(heads, rows, ["run", "what"], ["run", "what"])]


def told_apart(runs: Mapping[str, RunRecord]) -> tuple[list[Text], dict[str, str]]:
    """What runs are, without what all of them are.

    Args:
        runs: By name.

    Returns:
        A line on what all are (none if nothing), and what each is besides.
    """
    keys = [key for key in differing([run.settings for run in runs.values()]) if _tells(key)]
    kinds: list[dict[str, str]] = []
    shared: list[str] = []
    for place, prefixes in enumerate((("model.",), ("data.",), ("seed_everything",))):
        names = {name: what(run)[place] for name, run in runs.items()}
        if len(set(names.values())) == 1:
            shared += [next(iter(names.values()))]
            names = dict.fromkeys(runs, "")
        own = {name: _given(run, [key for key in keys if key.startswith(prefixes)]) for name, run in runs.items()}
        kinds.append({name: " ".join([*filter(None, [names[name]]), *own[name]]) for name in runs})
    common = ", ".join(filter(None, shared))
    many = f"{len(runs)} runs, all " if len(runs) > 1 else ""
    apart = {name: ", ".join(filter(None, (kind[name] for kind in kinds))) for name in runs}
    return [Text(f"{many}{common}", "dim")] * bool(common), apart


def _tells(key: str) -> bool:
    """Whether a setting says what was done, beyond the classes that are named anyway."""
    if key in {"model", "data", "data.root"} or key.startswith("data.corruption"):
        return False
    return key == "seed_everything" or key.startswith(("model.", "data."))


def _given(run: RunRecord, keys: list[str]) -> list[str]:
    settings = {key: run.settings[key] for key in keys if run.settings.get(key) is not None}
    return [f"{key.rpartition('.')[2].removesuffix('_everything')} {value}" for key, value in settings.items()]


def what(run: RunRecord) -> tuple[str, str, str]:
    """Network (behind the command, if that is not fit), data and corruption."""
    command = "" if run.command == "fit" else f"{run.command} "
    settings = run.settings
    corruption = settings.get("data.corruption") or ""
    if "," in str(corruption):
        prefixes = {name: f"data.corruption.{name}." for name in str(corruption).split(", ")}
    else:
        prefixes = {str(corruption): "data.corruption."} if corruption else {}
    parts = []
    for name, prefix in prefixes.items():
        own = {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
        given = [f"{key} {value}" for key, value in own.items() if key != "seed" and value is not None]
        parts.append(" ".join([name, *given]))
    data = str(settings.get("data") or "")
    untouched = "true labels" if run.record.get("data") else "labels unknown" if data else ""  # of other people's data
    return f"{command}{settings.get('model') or ''}".strip(), data, " + ".join(parts) or untouched


def status(run: RunRecord) -> Text:
    """The status in its colour."""
    return Text(run.status, COLOURS.get(run.status, ""))


def epochs(run: RunRecord) -> str:
    """Epochs done of those asked for; nothing for a command that trains none."""
    asked = run.settings.get("trainer.max_epochs")
    if run.command != "fit":
        return ""
    return f"{run.epochs}/{asked}" if isinstance(asked, int) and asked > 0 else str(run.epochs)


def percent(value: float | None) -> str:
    """A share in per cent."""
    return "" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """Four decimals, or as many digits where that says nothing."""
    if value is None:
        return ""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"
