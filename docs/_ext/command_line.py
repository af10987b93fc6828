"""The command line, from the table of commands and the parser of each: what `--help` says."""

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any
from unittest.mock import patch

from docs._ext.docstrings import prose
from stratoscope.commands.table import ABOUT, COMMANDS, OPTIONS, TRAINING
from stratoscope.fit.command import Parser, build

SUPPRESSED = "==SUPPRESS=="
DEFAULT = re.compile(r" Default: `[^`]*`\.$")  # which is said anew, as it is here
ROLE = re.compile(r":(?:class|func|meth|paramref):`~?")


def commands() -> str:
    """All commands with their arguments, as Markdown: a section each."""
    every = {name: _training_parser(name) if name in TRAINING else _parser(name) for name in COMMANDS}
    lines = [ABOUT, "", "| command | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {_cell(entry.help)} |" for name, entry in COMMANDS.items()]
    lines += [f"| `{name}` | {_cell(entry.help)} |" for name, entry in OPTIONS.items() if entry.help]
    lines += ["| `--debug` | errors with their traceback |"]
    first = _arguments(every[TRAINING[0]])
    for name, parser in every.items():
        about = f"{COMMANDS[name].help}." if name in TRAINING else " ".join((parser.description or "").split())
        lines += ["", f"({name})=", f"## `stratoscope {name}`", "", prose(about[:1].upper() + about[1:])]
        own = _arguments(parser)
        if name not in TRAINING:
            lines += ["", "```text", parser.format_usage().strip(), "```", *_listed(own)]
        elif name == TRAINING[0]:
            lines += _grouped(parser)
        else:
            lacking = [option for option in first if option not in own]
            lines += ["", f"The options of [`{TRAINING[0]}`](#{TRAINING[0]}){_without(lacking)}, and:"]
            lines += _listed({option: action for option, action in own.items() if option not in first})
    return "\n".join(lines)


def _parser(name: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = import_module(COMMANDS[name].load().__module__).parser(name)
    return made


def _training_parser(name: str) -> argparse.ArgumentParser:
    """The parser that would print the help of a command of LightningCLI."""
    found: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        found.append(parser)

    # Lightning warns where there are words of another command line
    with patch.object(sys, "argv", ["stratoscope"]), patch.object(Parser, "print_help", keep), suppress(SystemExit):
        build([name, "--help"])
    return found[0]


def _arguments(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """What a command takes, by the name that stands in its help."""
    shown = (action for action in parser._actions if action.help != SUPPRESSED)
    return {_named(action): action for action in shown if _named(action) != "--help"}


def _named(action: argparse.Action) -> str:
    long = [option for option in action.option_strings if option.startswith("--") and not option.endswith("+")]
    return (long or action.option_strings or [str(action.metavar or action.dest).strip("[]")])[0]


def _grouped(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of training by the part of a run that they are about."""
    arguments = _arguments(parser)
    own = {name: one for name, one in arguments.items() if not name.startswith(("--trainer", "--model", "--data"))}
    parts = {name: one for name, one in arguments.items() if name in {"--trainer", "--model", "--data"}}
    yield from _listed(own | parts)
    trainer = {name: one for name, one in arguments.items() if name.startswith("--trainer.") and ".help" not in name}
    yield from ("", "### Of Lightning's `Trainer`", *_listed(trainer))


def _listed(arguments: dict[str, argparse.Action]) -> Iterator[str]:
    for name, action in arguments.items():
        default = f" Default: `{action.default}`." if action.default and action.default != SUPPRESSED else ""
        yield from ("", f"`{name}`", f": {prose(_help(action) or 'see above')}{default}")


def _help(action: argparse.Action) -> str:
    text = ROLE.sub("`", " ".join((action.help or "").split())).replace("``", "`")
    return DEFAULT.sub("", text).replace("%%", "%")


def _without(options: list[str]) -> str:
    return f" but for {', '.join(f'`{one}`' for one in options)}" if options else ""


def _cell(text: str) -> str:
    return prose(text).replace("|", r"\|")
