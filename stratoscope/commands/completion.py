"""Shell completion of commands, options and class names.

jsonargparse can print a completion script too, but unrolls every class that any option of Lightning's Trainer could
hold, which does not end. Here the options are the trainer's and those of our own classes.
"""

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module

import shtab
from lightning.pytorch import Callback, Trainer

from stratoscope.commands.runs import METRICS
from stratoscope.commands.table import COMMANDS, OPTIONS, TRAINING
from stratoscope.datamodules import Augmentation, Corruption, ImageDataModule, ShiftedSet
from stratoscope.errors import Refused
from stratoscope.fit.classes import parameters, subclasses
from stratoscope.models import Classifier

FLAGS = ("--print_config", "--debug", "--trust")
FILES = ("--config", "--ckpt_path")
FOLDERS = ("--runs", "--data.root")
LISTS = {
    "--data.corruption": Corruption,
    "--data.augmentation": Augmentation,
    "--data.shifted": ShiftedSet,
    "--trainer.callbacks": Callback,
}
CLASSES = {"--model": Classifier, "--data": ImageDataModule} | LISTS | {f"{option}+": LISTS[option] for option in LISTS}


def completion(words: Sequence[str]) -> int:
    """`stratoscope --print_completion SHELL`, to be used as: eval "$(stratoscope --print_completion bash)".

    Args:
        words: The command line.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If there is no such shell.
    """
    shell = " ".join(words[1:])
    if shell not in shtab.SUPPORTED_SHELLS:
        shells = " or ".join(shtab.SUPPORTED_SHELLS)
        raise Refused(f"--print_completion: expected {shells}, got {shell or 'nothing'}")
    print(completion_script(shell))
    return 0


def completion_script(shell: str) -> str:
    """Script that completes `stratoscope ...` in a shell.

    Args:
        shell: One of shtab's: bash, zsh, tcsh, fish, ...
    """
    parser = argparse.ArgumentParser("stratoscope")
    for option, entry in OPTIONS.items():
        if option.startswith("--") and option != "--help":
            parser.add_argument(option, action="store_true", help=entry.help)
    commands = parser.add_subparsers()
    for name, entry in COMMANDS.items():
        if name in TRAINING:
            _add_options(commands.add_parser(name, help=entry.help))
            continue
        module = import_module(entry.load().__module__)
        made = commands.add_parser(name, help=entry.help, parents=[module.parser(name)], add_help=False)
        for action in made._actions:
            if action.metavar in {"FOLDER", "RUN"}:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            if action.metavar == "METRIC":
                action.choices = METRICS
    script: str = shtab.complete(parser, shell)
    return script


def _add_options(parser: argparse.ArgumentParser) -> None:
    for option in FLAGS:
        parser.add_argument(option, action="store_true")
    for option in FILES:
        parser.add_argument(option).complete = shtab.FILE  # type: ignore[attr-defined]
    for option in FOLDERS:
        parser.add_argument(option).complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    for option, base in CLASSES.items():
        parser.add_argument(option, choices=sorted({child.__name__ for child in subclasses([base])}))
    ours = {"--run", "--seed_everything", "--threads"} | set(_nested("--trainer", [Trainer]))
    for option, base in CLASSES.items():
        if not option.endswith("+"):
            ours |= set(_nested(option, (c for c in subclasses([base]) if c.__module__.startswith("stratoscope."))))
    for option in sorted(ours - set(CLASSES) - set(FOLDERS)):
        parser.add_argument(option)


def _nested(option: str, classes: Iterable[type]) -> list[str]:
    return [f"{option}.{name}" for child in classes for name in parameters(child)]
