"""What is the same in every command, made once for a process: two thirds of the time of a small run go into it.

Outside of tests a process runs one command; those that tests start anew make all of it for themselves.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from lightning.fabric.utilities import registry
from lightning.pytorch.cli import LightningCLI
from sklearn import datasets

from stratoscope.fit.command import Command
from stratoscope.run import directory

MADE: dict[tuple[str, ...], dict[str, Any]] = {}  # parsers by the commands they know
PARTS = ("parser", "_subcommand_parsers", "_subcommand_method_arguments")


def share(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Take the parser of the first command of a kind for all; look once for versions, commit, entry points and digits.

    Args:
        put: Sets attributes; that of pytest's monkeypatch takes it back after the test.
    """
    put(Command, "setup_parser", _setup_parser)
    for module, name in ((directory, "_versions"), (directory, "_code"), (registry, "entry_points")):
        put(module, name, cache(getattr(module, name)))
    digits = cache(datasets.load_digits)
    put(datasets, "load_digits", lambda **options: tuple(np.copy(part) for part in digits(**options)))


def _setup_parser(command: Command, *settings: Any) -> None:
    """Take what another command has made, or make it."""
    kind = tuple(command.subcommands())
    if kind not in MADE:
        LightningCLI.setup_parser(command, *settings)
        MADE[kind] = {part: vars(command)[part] for part in PARTS}
    vars(command).update(MADE[kind])
