"""The words of the command line before and after they are parsed: where configs come from, and numbers in range."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from jsonargparse import Namespace

import stratoscope
from stratoscope.checkpoint import CONFIG, load_checkpoint
from stratoscope.refusal import Refused

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


def with_checkpoint_config(words: list[str]) -> list[str]:
    """Put the config stored in the checkpoint of `--ckpt_path` before the other options, so that these win.

    Raises:
        Refused: If the checkpoint cannot be read.
    """
    at = next((i for i, word in enumerate(words) if word.split("=")[0] == "--ckpt_path"), None)
    if at is None or not words or words[0] not in COMMANDS:
        return words
    path = words[at].partition("=")[2] or (words[at + 1] if at + 1 < len(words) else "")
    stored = load_checkpoint(path).get(CONFIG)
    return words if stored is None else [words[0], "--config", yaml.safe_dump(stored, sort_keys=False), *words[1:]]


def check_keys(words: list[str]) -> None:
    """Refuse config files with a key that stands twice, of which YAML silently takes the last.

    Args:
        words: The command line.

    Raises:
        Refused: If there is one.
    """
    for before, word in zip(["", *words], words, strict=False):
        file = Path(word.partition("=")[2] if word.startswith(("--config=", "-c=")) else word)
        if (before in FILE_OPTIONS or file != Path(word)) and file.suffix in {".yaml", ".yml"} and file.is_file():
            try:
                twice = doubled_key(file.read_text())
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser will say it
            if twice:
                raise Refused(f"--config {file}: {twice}")


def doubled_key(text: str) -> str | None:
    """The first key that stands twice in one mapping of a YAML file, and where; None if there is none."""
    return next(_twice(yaml.compose(text, yaml.SafeLoader)), None)


def _twice(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if (name := str(key.value)) in lines:
                yield f"{name} stands twice, in lines {lines[name]} and {line}"
            lines[name] = line
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twice(value)


def check_numbers(config: Namespace) -> None:
    """Refuse numbers that the constructors would take, and fail with later.

    Args:
        config: The parsed options of a command.

    Raises:
        Refused: If one is out of range; the message names it.
    """
    trainer = config.trainer
    if isinstance(config.seed_everything, bool) or config.seed_everything < 0:
        raise Refused(
            f"--seed_everything must be a whole number from 0, got {config.seed_everything}: a run must be repeatable"
        )
    if trainer.max_epochs is not None and (trainer.max_epochs == 0 or trainer.max_epochs < -1):
        raise Refused(f"--trainer.max_epochs must be 1 or more (or -1, without end), got {trainer.max_epochs}")
    if trainer.max_epochs is None and trainer.max_steps == -1 and trainer.max_time is None:
        raise Refused("--trainer.max_epochs is null: training needs an end, or -1 to have none")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if (number := trainer[name]) is not None and number < 1:
            raise Refused(f"--trainer.{name} must be 1 or more, got {number}")
    if trainer.limit_train_batches == 0:
        raise Refused("--trainer.limit_train_batches is 0: there would be nothing to train on")
    if config.threads is not None and config.threads < 1:
        raise Refused(f"--threads must be 1 or more, got {config.threads}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not torch.accelerator.is_available())
    devices = int(trainer.devices) if str(trainer.devices).isdecimal() else None
    if devices == 0:
        raise Refused("--trainer.devices must be 1 or more, got 0")
    if on_cpu and devices is not None and devices > max(4, cores):
        raise Refused(
            f"--trainer.devices is {devices} processes, at most {max(4, cores)} make sense on {cores} CPU cores"
        )


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
