"""Bad input in one line: what is wrong, where, and what would be right."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stratoscope.datamodules import Corruption

BASES = (LightningModule, LightningDataModule, Corruption, Callback, Logger, Optimizer, LRScheduler)


class Refused(Exception):
    """Input that cannot be run; its text is the whole message."""


def one_line(message: str, words: list[str], options: Iterable[str]) -> str:
    """Turn jsonargparse's account of an error into one line.

    Args:
        message: The message of the exception.
        words: The command line, to say where.
        options: All valid options, to name the nearest.

    Returns:
        The line, without a prefix.
    """
    return (
        _unknown_option(message, words, list(options))
        or _unknown_command(message)
        or _missing(message, words)
        or _wrong_value(message, words)
        or " ".join(message.split())
    )


def option_names(parser: ArgumentParser) -> list[str]:
    """All options of a parser that are given as `--name`."""
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the closest name, or nothing."""
    close = get_close_matches(name, sorted(set(names)), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _unknown_option(message: str, words: list[str], options: list[str]) -> str | None:
    if found := re.search(r"[Uu]nrecognized arguments: (\S+)", message):
        name = found[1].split("=")[0]
        return f"no option {name}{nearest(name, options)}"
    if found := re.search(r"Option '([^']+)' is not accepted|[Kk]ey '([^']+)' is not expected|No action for key \"([^\"]+)\"", message):
        key = next(group for group in found.groups() if group)
        where = _where(key, words)
        return f"no option {where}{nearest(key.split('.')[-1], _arguments(words, options))}"
    return None


def _unknown_command(message: str) -> str | None:
    if found := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message):
        choices = re.findall(r"[\w-]+", found[2])
        return f"no command {found[1]}; commands are {', '.join(choices)}{nearest(found[1], choices)}"
    if "subcommand" in message and "not provided" in message:
        choices = re.findall(r"\w+", message[message.index("{") : message.index("}")])
        return f"a command is missing: stratoscope {'|'.join(choices)} ..., for example: stratoscope fit --config configs/quickstart.yaml"
    return None


def _missing(message: str, words: list[str]) -> str | None:
    if found := re.search(r"arguments are required: (.*)", message):
        names = [name.strip() for name in found[1].split(",")]
        named = [f"--{name.split('.', 1)[1]}" if name.split(".")[0] in words else name for name in names]
        if named == ["--model"]:
            return "--model is missing: give a network, such as --model SmallAlexNet, or a --config that names one"
        return f"{', '.join(named)} missing: required by {' '.join(word for word in words if not word.startswith('-')) or 'this'}"
    return None


def _wrong_value(message: str, words: list[str]) -> str | None:
    key = re.search(r"[Pp]arser key \"([^\"]+)\"", message)
    where = _where(key[1], words) if key else ""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    value = next((line.removeprefix("Given value: ") for line in lines if line.startswith("Given value: ")), None)
    causes = [line for line in lines if line and not re.match(r"Subtypes:|Errors:|Given value|Does not validate|[Pp]arser key", line)]
    informative = [line for line in causes if not line.startswith("Expected a")]
    if informative and not key and len(causes) == len(lines):
        return None
    if informative:
        return ": ".join(filter(None, [where, "; ".join(dict.fromkeys(informative))]))
    paths = [line.split(": ")[-1] for line in causes if line.startswith("Expected a dot import path")]
    if paths:
        return f"{where}: no class {paths[0]}{nearest(paths[0], class_names())}"
    if causes:
        kinds = dict.fromkeys(kind for line in causes for kind in _kinds(line))
        given = value if value is not None else causes[0].rpartition("Got value: ")[2]
        return f"{where}: expected {' or '.join(kinds)}, got {given}"
    return None


def _kinds(line: str) -> list[str]:
    if literal := re.search(r"Literal\[(.*?)\]", line):
        return [choice.strip(" '\"") for choice in literal[1].split(",")]
    found = re.search(r"<class '([^']+)'>", line)
    name = found[1] if found else line.removeprefix("Expected a ").split(".")[0]
    return [{"NoneType": "null", "bool": "true or false", "int": "a whole number", "float": "a number"}.get(name, name)]


def _where(key: str, words: list[str]) -> str:
    """The option a key was given by, as typed, or the key itself."""
    for word in reversed(words):
        name = word.split("=")[0].rstrip("+")
        if name.startswith("--") and (name == f"--{key}" or name.endswith(f".{key}")):
            return name
    return key


def class_names() -> list[str]:
    """Short names of all classes the command line knows."""
    found: dict[str, None] = {}
    stack: list[type] = list(BASES)
    while stack:
        for child in stack.pop().__subclasses__():
            if not child.__name__.startswith("_"):
                found[child.__name__] = None
            stack.append(child)
    return list(found)


def _arguments(words: list[str], options: list[str]) -> set[str]:
    """Argument names of the classes named on the command line, and the last parts of all options."""
    import inspect

    names = {option.split(".")[-1].removeprefix("--") for option in options}
    stack: list[type] = list(BASES)
    while stack:
        for child in stack.pop().__subclasses__():
            if any(child.__name__ == part for word in words for part in re.split(r"\W+", word)):
                names |= set(inspect.signature(child).parameters)
            stack.append(child)
    return names
