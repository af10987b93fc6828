"""The words of the command line before and after they are parsed: where configs come from, and numbers in range."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace

import stratoscope
from stratoscope.errors import Refused
from stratoscope.files.bounded import read_text, yaml_value
from stratoscope.files.yaml_keys import ANCHORS, doubled_key
from stratoscope.run.checkpoint import CONFIG, load_checkpoint
from stratoscope.run.seeds import NOTHING_DRAWN
from stratoscope.run.trust import of_checkpoint

MOST_THREADS = 1024
LAUNCHED = ("SLURM_NODEID", "NODE_RANK", "GROUP_RANK", "LSB_JOBID", "OMPI_COMM_WORLD_RANK", "MASTER_ADDR")
LARGEST = 3.4e38  # float32
COMMANDS = ("fit", "validate", "test", "predict")
FILE_OPTIONS = ("--config", "-c", "--model", "--data", "--trainer")


def with_configs_found(words: list[str]) -> list[str]:
    """Replace names of configs that come with the package, such as configs/quickstart.yaml, by their paths.

    Args:
        words: The command line.
    """
    return [_shipped(word, before) for word, before in zip(words, ["", *words], strict=False)]


def with_configs_first(words: list[str]) -> list[str]:
    """Put the configs, in their order, before the other options, so that these win wherever they stand."""
    configs, others, rest = [], [], iter(words)
    for word in rest:
        if word in {"--config", "-c"}:
            configs += [word, *([value] if (value := next(rest, None)) is not None else [])]
        elif word.startswith(("--config=", "-c=")):
            configs.append(word)
        else:
            others.append(word)
    return [*others[:1], *configs, *others[1:]] if others and others[0] in COMMANDS else words


def with_checkpoint_config(words: list[str], trusted: bool) -> tuple[list[str], list[str]]:
    """Put the config stored in the checkpoint of `--ckpt_path` before the other options, so that these win.

    Args:
        words: The command line.
        trusted: Whether all of it is taken; see `of_checkpoint`.

    Returns:
        The command line, and lines for the user.

    Raises:
        Refused: If the checkpoint cannot be read, or its config is not to be taken.
    """
    at = next((i for i, word in enumerate(words) if word.split("=")[0] == "--ckpt_path"), None)
    if at is None or not words or words[0] not in COMMANDS:
        return words, []
    path = words[at].partition("=")[2] or (words[at + 1] if at + 1 < len(words) else "")
    stored = load_checkpoint(path).get(CONFIG)
    if stored is None:
        return words, []
    named = set(_named(words))
    taken, left_out = of_checkpoint(stored, path, named, trusted)
    notes = [f"not taken from {path}: {', '.join(left_out)}; give it as options, or --trust"] if left_out else []
    if words[0] != "fit":  # which says all that differs
        notes += _data_of_another_seed(words, path, stored)
    return [words[0], "--config", yaml.safe_dump(taken, sort_keys=False), *words[1:]], notes


def _data_of_another_seed(words: list[str], path: str, stored: Mapping[str, Any]) -> list[str]:
    """A line for every corruption that follows the run's seed, as it takes none of its own, if that seed is another."""
    before = stored.get("seed_everything")
    given = [
        word.partition("=")[2] or after
        for word, after in zip(words, [*words[1:], ""], strict=True)
        if word.partition("=")[0] == "--seed_everything"
    ]
    if not given or given[-1] == str(before):
        return []
    return [
        f"{name} takes no seed: with --seed_everything {given[-1]}, not {before}, it makes other data than for {path}"
        for one in _corruptions(stored.get("data"))
        if (name := str(one.get("class_path", "")).rpartition(".")[2]) and "seed" not in (one.get("init_args") or {})
    ]


def _named(words: list[str]) -> Iterator[str]:
    """The words of a command line, and the classes that its config files name."""
    for before, word in zip(["", *words], words, strict=False):
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        yield value
        option = word.partition("=")[0] if value != word else before
        if not option.startswith("-"):
            continue
        try:
            file = Path(value)
            inside = yaml_value(read_text(file) if option in FILE_OPTIONS and file.is_file() else value)
        except (OSError, ValueError):  # the parser will say it
            continue
        yield from _classes(inside)


def _classes(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(path := config.get("class_path"), str):
            yield path
        yield from (one for inner in config.values() for one in _classes(inner))
    elif isinstance(config, list):
        yield from (one for inner in config for one in _classes(inner))


def check_keys(words: list[str]) -> None:
    """Refuse config files with a duplicate key, of which YAML silently takes the last.

    Args:
        words: The command line.

    Raises:
        Refused: If there is one.
    """
    for before, word in zip(["", *words], words, strict=False):
        file = Path(word.partition("=")[2] if word.startswith(("--config=", "-c=")) else word)
        if (before in FILE_OPTIONS or file != Path(word)) and file.suffix in {".yaml", ".yml"} and file.is_file():
            try:
                twice = doubled_key(read_text(file))
            except ValueError as error:
                raise Refused(f"--config {file} is no valid YAML: {error}") from error
            if twice:
                raise Refused(f"--config {file}: {twice}")


def without_anchors(text: str) -> str:
    """A YAML file without its top-level keys that begin with x-, which hold what others repeat by an anchor.

    Args:
        text: The file; one without such keys, or that is no mapping, is returned as it is.
    """
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return text
    kept = [(key, value) for key, value in node.value if not str(key.value).startswith(ANCHORS)]
    if len(kept) == len(node.value):
        return text
    return str(yaml.serialize(yaml.MappingNode(node.tag, kept), Dumper=yaml.SafeDumper))


def check_numbers(config: Namespace) -> None:
    """Refuse numbers that the constructors would take, and fail with later.

    Args:
        config: The parsed options of a command.

    Raises:
        Refused: If one is out of range; the message names it.
    """
    for name, number in _numbers("", config.as_dict()):
        if isinstance(number, float) and not abs(number) <= LARGEST:
            raise Refused(f"--{name} must be a finite number in float32, got {number:g}")
        if isinstance(number, int) and abs(number) >= 2**63:
            raise Refused(f"--{name} is too large a number, of {len(str(abs(number)))} digits")
    trainer = config.trainer
    if isinstance(config.seed_everything, bool) or config.seed_everything < 0:
        raise Refused(
            f"--seed_everything must be a whole number from 0, got {config.seed_everything}: a run must be repeatable"
        )
    for name, least, text in (
        ("max_steps", -1, "1 or more, or -1 for no such bound"),
        ("min_epochs", 0, "0 or more"),
        ("min_steps", 0, "0 or more"),
        ("gradient_clip_val", 0, "0 or more"),
        ("log_every_n_steps", 0, "0 or more"),
        ("num_nodes", 1, "1 or more"),
        ("num_sanity_val_steps", -1, "0 or more, or -1 for all batches"),
    ):
        if trainer[name] is not None and (trainer[name] < least or (name == "max_steps" and trainer[name] == 0)):
            raise Refused(f"--trainer.{name} must be {text}, got {trainer[name]}")
    if trainer.num_nodes > 1 and not any(name in os.environ for name in LAUNCHED):
        raise Refused(
            f"--trainer.num_nodes is {trainer.num_nodes}, but nothing says which node this is: start it by a scheduler "
            "or torchrun, or set NODE_RANK and MASTER_ADDR"
        )
    for first, last in (("min_epochs", "max_epochs"), ("min_steps", "max_steps")):
        if trainer[first] and trainer[last] is not None and 0 <= trainer[last] < trainer[first]:
            raise Refused(f"--trainer.{first} is {trainer[first]}, but --trainer.{last} is {trainer[last]}")
    for name in ("max_time", "val_check_interval"):
        _check_interval(name, trainer[name])
    if trainer.max_epochs is not None and (trainer.max_epochs == 0 or trainer.max_epochs < -1):
        raise Refused(f"--trainer.max_epochs must be 1 or more (or -1, without end), got {trainer.max_epochs}")
    if trainer.max_epochs is None and trainer.max_steps == -1 and trainer.max_time is None:
        raise Refused("--trainer.max_epochs is null: training needs an end, or -1 to have none")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if (number := trainer[name]) is not None and number < 1:
            raise Refused(f"--trainer.{name} must be 1 or more, got {number}")
    if trainer.limit_train_batches == 0:
        raise Refused("--trainer.limit_train_batches is 0: there would be nothing to train on")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if config.threads is not None and config.threads < 1:
        raise Refused(f"--threads must be 1 or more, got {config.threads}")
    if config.threads is not None and config.threads > max(MOST_THREADS, cores):
        raise Refused(f"--threads must be at most {max(MOST_THREADS, cores)}, got {config.threads}")
    on_cpu = trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not torch.accelerator.is_available())
    devices = int(trainer.devices) if str(trainer.devices).isdecimal() else None
    if devices == 0:
        raise Refused("--trainer.devices must be 1 or more, got 0")
    if on_cpu and devices is not None and devices > max(4, cores):
        raise Refused(
            f"--trainer.devices is {devices} processes, at most {max(4, cores)} make sense on {cores} CPU cores"
        )


def seed_corruptions(config: Namespace, begun: Mapping[str, Any]) -> list[str]:
    """Give a seed to every corruption that draws and has none of its own, so that what is stored says which it was.

    It is the run's, or that with which a run that goes on was begun: of the first releases the default was 0.

    Args:
        config: The parsed options of a command; changed in place.
        begun: The config of the run that goes on; empty for a new one.

    Returns:
        Lines for the user.
    """
    notes = []
    there = _corruptions(begun.get("data"))
    for at, one in enumerate(_corruptions(config.get("data"))):
        arguments = one.get("init_args")
        if not isinstance(arguments, Namespace) or "seed" not in arguments or arguments.seed is not None:
            continue
        name = str(one.get("class_path")).rpartition(".")[2]
        before = there[at] if at < len(there) and there[at].get("class_path") == one.get("class_path") else None
        stored = (before or {}).get("init_args")
        if before is None:
            arguments.seed = None if name in NOTHING_DRAWN else config.seed_everything
        elif isinstance(stored, Mapping):
            arguments.seed = stored.get("seed")
            if arguments.seed not in (None, config.seed_everything) and name not in NOTHING_DRAWN:
                notes.append(f"{name} keeps seed {arguments.seed}, with which the run was begun")
    return notes


def _corruptions(data: Any) -> list[Any]:
    """The corruptions in what is given for data, as mappings."""
    given = data.get("init_args") if isinstance(data, (Mapping, Namespace)) else None
    found = given.get("corruption") if isinstance(given, (Mapping, Namespace)) else None
    listed = found if isinstance(found, list) else [found]
    return [one if isinstance(one, (Mapping, Namespace)) else {} for one in listed]


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """All numbers of a config, with their names as options."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(name if key in {"init_args", "dict_kwargs"} else f"{name}.{key}".strip("."), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(name, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _check_interval(name: str, given: Any) -> None:
    """Refuse a length of time, or an interval of batches, that never passes or is none.

    Raises:
        Refused: If it is.
    """
    if given is None:
        return
    if isinstance(given, int | float):
        if not given > 0 or (isinstance(given, float) and given > 1):
            raise Refused(
                f"--trainer.{name} must be a share of the batches in (0, 1] or a number of batches, got {given}"
            )
        return
    form = "days, hours, minutes and seconds, such as 00:01:30:00"
    if isinstance(given, str):
        parts = given.split(":")
        seconds = sum(map(int, parts)) if len(parts) == 4 and all(part.isdecimal() for part in parts) else 0
    elif isinstance(given, dict):
        known = {"weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds"}
        seconds = sum(given.values()) if given.keys() <= known and min(given.values(), default=0) >= 0 else 0
    else:
        seconds = given.total_seconds()
    if not 0 < seconds < 2**31:
        raise Refused(f"--trainer.{name} must be above 0, as {form}; got {given}")


def _shipped(word: str, before: str) -> str:
    """The path of a config that is not in the working directory but comes with the package."""
    value = word.removeprefix("--config=")
    if before not in FILE_OPTIONS and value == word:
        return word
    root = Path(stratoscope.__file__).resolve().parent
    for folder in (root, root.parent):  # a wheel, a clone
        if value.startswith("configs/") and not Path(value).exists() and (folder / value).is_file():
            return word.removesuffix(value) + str(folder / value)
    return word
