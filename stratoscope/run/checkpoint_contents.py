"""What is in a checkpoint: of what is written, that it can be read again; of what is read, that it is what it says.

Checkpoints are read with torch's `weights_only`: tensors and plain values, and no code. Whatever a network, its data or
a callback puts in that is of another class (`numpy.ndarray` is one) could be written and never read again.
"""

import operator
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from io import BytesIO
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loops.fit_loop import _FitLoop
from packaging.version import InvalidVersion, Version
from torch.optim import Optimizer
from torch.serialization import get_unsafe_globals_in_checkpoint

from stratoscope.errors import Refused

# what Lightning and stratoscope read of a checkpoint; lists and mappings hold what is in them
KINDS: dict[str, Any] = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": {str: object},
    "loops": {str: {str: object}},
    "callbacks": {str: object},
    "optimizer_states": [{str: object}],
    "lr_schedulers": [{str: object}],
    "stratoscope_format": int,
    "stratoscope_config": {str: object},
    "exact_resume": {str: object},
    "stratoscope_cut": {str: object},
}
EXACT_RESUME: dict[str, Any] = {
    "loaders": [{str: object}],
    "sums": {str: {str: (torch.Tensor, [object])}},  # a sum, or what was listed of every batch
    "logged": {str: float},
    "watched": {str: torch.Tensor},
    "plateau": {int: str},
}
CELLS: dict[str, Any] = {"epoch": int, "layer": str, "labels": str, "split": str}  # of a table of probes
NUMBERS = {"accuracy", "low", "high", "loss", "gap", "ridge", "objective", "gradient_norm"}
FOR_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
OF_EVERY_WEIGHT = {"momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"}
OF_EVERY_GROUP = {"params", "lr", "momentum", "weight_decay", "betas", "eps"}
CLASSES = {int: "a whole number", float: "a number", str: "text", torch.Tensor: "a tensor"}


def check_readable(checkpoint: Mapping[str, Any], written: BytesIO | None = None, whole: bool = True) -> None:
    """Refuse to write what could not be read again.

    Args:
        checkpoint: What is to be written.
        written: As torch writes it; made here if it is not given.
        whole: Whether to read all of it; otherwise only the names of its classes.

    Raises:
        Refused: If it holds something else than tensors and plain values; the message names the key and the class.
    """
    if written is None:
        torch.save(checkpoint, written := BytesIO())
    if _unreadable(written, whole) is None:
        return
    for key, part in _parts("", checkpoint):
        try:
            torch.save(part, alone := BytesIO())
        except Exception:  # what cannot even be written
            alone = BytesIO()
        if (why := _unreadable(alone, whole=True)) is not None:
            kind = f"{type(part).__module__}.{type(part).__qualname__}".removeprefix("builtins.")
            plain = getattr(part, "tolist", None)  # of NumPy's numbers and arrays
            advice = "convert it with .tolist()" if plain else f"keep tensors, numbers and texts instead ({why})"
            raise Refused(f"a checkpoint with {key}, a {kind}, could be written but not read again: {advice}")


def plain_numbers(value: Any) -> Any:
    """A checkpoint with Python's numbers in place of NumPy's; what has none of them is returned as it is.

    Args:
        value: The checkpoint, or a part of it.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, OrderedDict):
        inner = {name: plain_numbers(part) for name, part in value.items()}
        same = all(inner[name] is part for name, part in value.items())
        return value if same else type(value)(inner)
    if type(value) in (list, tuple):
        parts = [plain_numbers(part) for part in value]
        return value if all(map(operator.is_, parts, value)) else type(value)(parts)
    return value


def check_parts(module: LightningModule, data: LightningDataModule | None, callbacks: Iterable[Callback]) -> None:
    """Look at what checkpoints of a run will hold beside weights, as far as it is known before the run begins.

    Args:
        module: The network.
        data: The data.
        callbacks: Of the trainer.

    Raises:
        Refused: If it could be written and not read again.
    """
    found: dict[str, Any] = {"hyper_parameters": dict(module.hparams)}
    if data is not None:
        found["datamodule_hyper_parameters"] = dict(data.hparams)
    states = {getattr(one, "state_key", ""): one for one in callbacks}
    for place, one in [("datamodule", data), *(("callbacks", one) for one in states.values())]:
        try:
            state = one.state_dict() if one is not None else {}
        except Exception:  # some can say so under way only
            continue
        found.setdefault(place, {})[type(one).__name__] = state
    check_readable(plain_numbers(found))


def why_unreadable(file: str) -> str:
    """Which classes keep a checkpoint that is whole from being read; empty if it is not known.

    Args:
        file: Its path.
    """
    try:
        classes = get_unsafe_globals_in_checkpoint(file)
    except Exception:
        return ""
    return ", ".join(sorted(classes))


def check_contents(checkpoint: Mapping[str, Any]) -> None:
    """Look whether the parts of a checkpoint that are read are of their kinds.

    Args:
        checkpoint: As it was read.

    Raises:
        ValueError: If one is not; with its key.
    """
    for kinds, found in ((KINDS, checkpoint), (EXACT_RESUME, checkpoint.get("exact_resume") or {})):
        for key, kind in kinds.items():
            if found.get(key) is not None:
                _check_kind(key, found[key], kind)
    counts = [(name, checkpoint[name]) for name in ("epoch", "global_step") if checkpoint.get(name) is not None]
    for name, loop in (checkpoint.get("loops") or {}).items():
        for part in (part for part in loop if str(part).endswith("progress")):
            counts += _parts(f"loops.{name}.{part}", loop[part])
            if not isinstance(loop[part], dict) or not isinstance(loop[part].get("current", {}), dict):
                raise ValueError(f"loops.{name}.{part} is no mapping")
    for key, number in counts:
        if not isinstance(number, int) or not 0 <= number < 2**63:
            raise ValueError(f"{key} must be a whole number from 0, got {str(number)[:40]!r}")
    try:
        Version(checkpoint.get("pytorch-lightning_version", "2.0"))
    except InvalidVersion as error:
        raise ValueError(str(error)) from error


def check_callbacks(checkpoint: Mapping[str, Any], trainer: Trainer) -> None:
    """Let copies of stratoscope's and Lightning's callbacks take their states, as they will when a command begins.

    Others' may need to be set up before, and what is in their states is theirs.

    Args:
        checkpoint: As it was read.
        trainer: Whose callbacks.

    Raises:
        ValueError: If one cannot.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        home = type(callback).__module__
        state = (checkpoint.get("callbacks") or {}).get(callback.state_key)
        if state is None or not home.startswith(("stratoscope.", "lightning.")):
            continue
        key = f"callbacks.{callback.state_key}"
        if home.startswith("stratoscope.") and isinstance(state, dict):
            measured = state.get("measured")
            measures = measured.get("rows", []) if isinstance(measured, dict) else []
            for name, rows in {
                "rows": state.get("rows", []),
                "latest": state.get("latest", []),
                "measured.rows": measures,
            }.items():
                _check_rows(f"{key}.{name}", rows)
        try:
            copy = deepcopy(callback)
        except Exception:  # it holds what cannot be copied
            continue
        _tried(key, lambda c=copy, s=state: c.load_state_dict(deepcopy(s)))


def _check_rows(key: str, rows: Any) -> None:
    """Look whether the rows of a table of probes or measures have texts and numbers where these belong.

    Raises:
        ValueError: If not.
    """
    _check_kind(key, rows, [{str: object}])
    for row in rows:
        for name, kind in CELLS.items():
            _check_kind(f"{key}.{name}", row.get(name, kind()), kind)
        for name in NUMBERS & row.keys():
            if row[name] is not None:
                _check_kind(f"{key}.{name}", row[name], float)


def check_restorable(checkpoint: Mapping[str, Any], trainer: Trainer, optimizers: Any) -> None:
    """Try to go on from a checkpoint: restore all that can be restored before training begins.

    Args:
        checkpoint: As it was read.
        trainer: To train on.
        optimizers: What `configure_optimizers` gives, to be thrown away; None if it is not known yet.

    Raises:
        ValueError: If something of it does not fit.
    """
    if missing := [name for name in FOR_TRAINING if checkpoint.get(name) is None]:
        raise ValueError(f"it has no {', '.join(missing)}, which training needs to go on")
    states, stored = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    if not states and checkpoint["global_step"]:
        raise ValueError("it has no states of optimisers, which training needs to go on")
    loop = _FitLoop(trainer)  # to be thrown away
    _tried("loops", lambda: loop.load_state_dict(deepcopy(checkpoint["loops"]["fit_loop"])))
    made, schedules = _optimizers(optimizers)
    if made:
        for what, here, there in (("optimisers", made, states), ("schedules", schedules, stored)):
            if len(here) != len(there):
                raise ValueError(f"it has states of {len(there)} {what}, the network has {len(here)}")
        for number, (optimizer, state) in enumerate(zip(made, states, strict=True)):
            fresh, groups = optimizer.state_dict()["param_groups"], state.get("param_groups")
            for group in groups if isinstance(groups, list) else ():
                missing = OF_EVERY_GROUP & fresh[0].keys() - (group.keys() if isinstance(group, dict) else set())
                if missing:
                    raise ValueError(f"optimizer_states.{number}.param_groups lacks {', '.join(sorted(missing))}")
            _check_alike(f"optimizer_states.{number}.param_groups", groups, fresh)
            _tried(f"optimizer_states.{number}", lambda o=optimizer, s=state: o.load_state_dict(deepcopy(s)))
            for weight, kept in optimizer.state.items():
                for name in OF_EVERY_WEIGHT & kept.keys() if _is_torchs(optimizer) else ():
                    if kept[name] is not None and getattr(kept[name], "shape", None) != weight.shape:
                        raise ValueError(f"optimizer_states.{number}: {name} is not of its weight's shape")
    for number, (schedule, state) in enumerate(zip(schedules, stored, strict=False)):
        _check_alike(f"lr_schedulers.{number}", state, schedule.state_dict())
        _tried(f"lr_schedulers.{number}", lambda o=schedule, s=state: o.load_state_dict(deepcopy(s)))


def _is_torchs(optimizer: Optimizer) -> bool:
    """Whether it is known what an optimiser remembers of every weight."""
    return type(optimizer).__module__.startswith("torch.optim.")


def _check_alike(key: str, found: Any, known: Any) -> None:
    """Compare what a schedule remembers with what a new one of its kind does.

    Raises:
        ValueError: If it has numbers where there are none, or the other way round.
    """
    number = isinstance(known, (int, float)) and not isinstance(known, bool)
    if number != (isinstance(found, (int, float)) and not isinstance(found, bool)) and known is not None:
        raise ValueError(f"{key} is {str(found)[:40]!r}")
    if isinstance(known, dict) and isinstance(found, dict):
        for name in known.keys() & found.keys():
            _check_alike(f"{key}.{name}", found[name], known[name])
    elif isinstance(known, list | tuple):
        if not isinstance(found, list | tuple):
            raise ValueError(f"{key} is no list")
        for number_, (one, other) in enumerate(zip(found, known, strict=False)):
            _check_alike(f"{key}.{number_}", one, other)


def _tried(key: str, restore: Any) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it will be said when it is done
            restore()
    except Exception as error:
        raise ValueError(
            f"{key} does not fit ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        ) from error


def _optimizers(made: Any) -> tuple[list[Optimizer], list[Any]]:
    """Optimisers and schedules in what our Classifier's `configure_optimizers` returns."""
    if isinstance(made, Optimizer):
        return [made], []
    if isinstance(made, dict) and isinstance(made.get("optimizer"), Optimizer):
        found = made.get("lr_scheduler")
        schedule = found.get("scheduler") if isinstance(found, dict) else found
        return [made["optimizer"]], [] if schedule is None else [schedule]
    return [], []


def _unreadable(written: BytesIO, whole: bool) -> str | None:
    """Why what was written cannot be read, in some words; None if it can."""
    written.seek(0)
    try:
        if whole:
            torch.load(written, map_location="cpu", weights_only=True)
        elif classes := get_unsafe_globals_in_checkpoint(written):
            return ", ".join(sorted(classes))
    except Exception as error:
        return type(error).__name__
    finally:
        written.seek(0)
    return None


def _parts(key: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """What is at the ends of mappings and lists, with its dotted key."""
    inner: Iterable[tuple[Any, Any]]
    if depth > 50 or isinstance(value, torch.Tensor):
        inner = ()
    elif type(value).__name__ in {"dict", "OrderedDict", "defaultdict"}:
        inner = value.items()
    else:
        inner = enumerate(value) if type(value) in (list, tuple) else ()
    found = False
    for name, part in inner:
        found = True
        yield from _parts(f"{key}.{name}".strip("."), part, depth + 1)
    if not found:
        yield key, value


def _check_kind(key: str, found: Any, kind: Any) -> None:
    """Compare a value with its kind.

    Raises:
        ValueError: If it is of another.
    """
    if isinstance(kind, dict):
        if not isinstance(found, Mapping):
            raise ValueError(f"{key} is no mapping")
        ((name, inside),) = kind.items()
        for part, value in found.items():
            if not isinstance(part, name):
                raise ValueError(f"{key} has a key {str(part)[:40]!r}")
            _check_kind(f"{key}.{part}", value, inside)
    elif isinstance(kind, list):
        if not isinstance(found, (list, tuple)):
            raise ValueError(f"{key} is no list")
        for number, value in enumerate(found):
            _check_kind(f"{key}.{number}", value, kind[0])
    elif isinstance(kind, tuple):  # one of them
        of = next((one for one in kind if isinstance(one, list) == isinstance(found, (list, tuple))), kind[0])
        _check_kind(key, found, of)
    elif kind is not object:
        right = isinstance(found, (int, float)) if kind is float else isinstance(found, kind)
        if not right or (kind is not bool and isinstance(found, bool)):
            raise ValueError(f"{key} must be {CLASSES[kind]}, got {str(found)[:40]!r}")
