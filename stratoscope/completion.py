"""Shell completion of commands, options and class names.

jsonargparse can print a completion script too, but unrolls every class that any option of Lightning's Trainer could
hold, which does not end. Here the options are the trainer's and those of our own classes.
"""

import argparse
from collections.abc import Iterable
from typing import Any

import shtab
from lightning.pytorch import Callback, Trainer

from stratoscope.datamodules import Augmentation, Corruption, ImageDataModule, ShiftedSet
from stratoscope.models import Classifier
from stratoscope.refusal import parameters, subclasses
from stratoscope.results_commands import COMMANDS, METRICS
from stratoscope.results_commands import parser as look_parser

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


class PrintCompletion(argparse.Action):
    """The option that prints the script for a shell and exits."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            choices=shtab.SUPPORTED_SHELLS,
            help='Print a completion script, to be used as: eval "$(stratoscope --print_completion bash)".',
        )

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Print the script.

        Raises:
            SystemExit: Always.
        """
        print(completion_script(values))
        raise SystemExit(0)


def completion_script(shell: str) -> str:
    """Script that completes `stratoscope ...` in a shell.

    Args:
        shell: One of shtab's: bash, zsh, tcsh, fish, ...
    """
    parser = argparse.ArgumentParser("stratoscope")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for command in ("fit", "validate", "test", "predict"):
        _add_options(commands.add_parser(command, help=command))  # without help shtab leaves it out
    for command in COMMANDS:
        made = commands.add_parser(command, help=command, parents=[look_parser(command)], add_help=False)
        for action in made._actions:
            if action.dest in {"folder", "runs"}:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            if action.dest in {"metric", "sort"}:
                action.choices = METRICS
    commands.add_parser("list", help="list")
    for command, folder in (("resume", "run"), ("doctor", "data")):
        made = commands.add_parser(command, help=command)
        made.add_argument(folder).complete = shtab.DIRECTORY  # type: ignore[attr-defined]
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
