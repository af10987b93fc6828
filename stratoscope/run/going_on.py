"""What may change when a run goes on: what changes no result of it, and how long it trains."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from stratoscope.callbacks.guards.exact_loops import PLACE, finished_epochs, within_epoch
from stratoscope.errors import Refused
from stratoscope.run.free_options import DEVICES, FREE

LENGTH = ("--trainer.max_epochs", "--trainer.max_steps")


def sorted_out(
    differences: Sequence[str], before: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[list[str], list[str], list[str]]:
    """Tell the differences between two configs apart.

    Args:
        differences: As `RunDirectory.differences` gives them.
        before: The one.
        now: The other.

    Returns:
        Those of what a run is; those of how long it is; and those that change no result.
    """
    as_many = _devices(before) == _devices(now)  # in the middle of a run metrics would be of other samples
    free = tuple(name for name in FREE if as_many or name not in DEVICES)
    found: tuple[list[str], list[str], list[str]] = [], [], []
    for line in differences:
        option = "--" + line.partition(":")[0].replace(".init_args", "")
        kind = 1 if option in LENGTH else 2 if any(f"{option}.".startswith(f"{name}.") for name in free) else 0
        found[kind].append(line)
    return found


def _devices(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """How many there are, whichever they are; `auto` as it stands."""
    trainer = config.get("trainer") or {}
    devices = trainer.get("devices")
    if isinstance(devices, str) and "," in devices:
        devices = [part for part in devices.split(",") if part.strip()]
    return str(len(devices) if isinstance(devices, list) else devices), trainer.get("num_nodes")


def check_longer(run: str, before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> None:
    """Refuse to train a run longer that would not end like one which was as long from the start.

    Args:
        run: Its name.
        before: Its config.
        now: The config that is asked for.
        checkpoint: Its last one.

    Raises:
        Refused: If it would be shorter, or its learning rates depend on its length.
    """
    old, new = (_bounds(config["trainer"]) for config in (before, now))
    advice = "; begin another --run, with the new length from the start or, by Pretrained, with the weights of this one"
    if new[0] < old[0] or new[1] < old[1]:
        raise Refused(f"run {run} was begun with more epochs or steps: it can be made longer, not shorter{advice}")
    if any("StochasticWeightAveraging" in str(one.get("class_path")) for one in _callbacks(now)):
        raise Refused(
            f"run {run} cannot train longer: StochasticWeightAveraging depends on the number of epochs{advice}"
        )
    epochs, an_epoch = finished_epochs(dict(checkpoint)), _steps_of_an_epoch(checkpoint)
    for name, length, done in _schedules(checkpoint.get("lr_schedulers", [])):
        by_step = done > epochs
        wanted = min(new[1], new[0] * an_epoch) if by_step else min(new[0], new[1] / an_epoch if new[1] < inf else inf)
        if length < wanted:
            made_for = (
                f"{name} {length} {'step' if by_step else 'epoch'}s" if length else f"{name}, which may know its length"
            )
            raise Refused(
                f"run {run} cannot train longer: its schedule of learning rates is made for {made_for}{advice}"
            )


def is_longer(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run has more epochs or steps than another.

    Args:
        before: The other's config of the trainer.
        now: Its own.
    """
    return any(new > old for old, new in zip(_bounds(before), _bounds(now), strict=True))


def _steps_of_an_epoch(checkpoint: Mapping[str, Any]) -> float:
    """Steps that an epoch has, of those that are finished; infinity as long as none is."""
    epochs, steps = finished_epochs(dict(checkpoint)), int(checkpoint.get("global_step", 0))
    progress = checkpoint.get("loops", {}).get("fit_loop", {})
    if set(PLACE) <= progress.keys() and within_epoch(progress):
        batches = {name: int(progress[PLACE[1]][name]["processed"]) for name in ("total", "current")}
        steps = round(steps * (1 - batches["current"] / max(1, batches["total"])))  # a step may be of several batches
    return max(1, steps // epochs) if epochs else inf


def _bounds(trainer: Mapping[str, Any]) -> tuple[float, float]:
    """Epochs and steps at which a run ends."""
    given = (trainer.get("max_epochs"), trainer.get("max_steps"))
    return tuple(inf if number is None or number < 0 else number for number in given)  # type: ignore[return-value]


def _callbacks(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = config["trainer"].get("callbacks") or []
    return found if isinstance(found, list) else [found]


def _schedules(states: Sequence[Mapping[str, Any]], before: int = 0) -> Iterator[tuple[str, float, int]]:
    """Of every schedule that has a length, or could: the name of that length, itself, and the steps it has taken."""
    for state in states:
        inner, places = state.get("_schedulers", []), [0, *state.get("_milestones", [])]
        for part, place in zip(inner, [*places, *[0] * len(inner)], strict=False):
            yield from _schedules([part], before + place)
        done = int(state.get("last_epoch", 0)) + before
        for name in ("T_max", "total_steps", *(["total_iters"] if "power" in state else [])):
            if name in state:
                yield name, before + state[name], done
        if "lr_lambdas" in state:
            yield "a function", 0, done
