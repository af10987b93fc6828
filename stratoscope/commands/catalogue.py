"""Every network, data set, corruption, augmentation and callback there is, one line each; for `stratoscope list`."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback

from stratoscope.datamodules import Augmentation, Corruption, ImageDataModule, ShiftedSet
from stratoscope.fit.classes import subclasses
from stratoscope.models import Classifier

SECTIONS: list[tuple[str, str, type]] = [
    ("networks", "--model", Classifier),
    ("data sets", "--data", ImageDataModule),
    ("further test sets", "--data.shifted", ShiftedSet),
    ("corruptions", "--data.corruption", Corruption),
    ("augmentations", "--data.augmentation", Augmentation),
    ("callbacks", "--trainer.callbacks", Callback),
]
HOMES = ("stratoscope.models.", "stratoscope.datamodules.", "stratoscope.callbacks.")


def listed() -> str:
    """The list as text, by section and in alphabetical order."""
    lines: list[str] = []
    for title, option, base in SECTIONS:
        found = {child.__name__: child for child in ours(base)}
        lines += ["", f"{title} ({option})"]
        lines += [f"  {name:<{max(map(len, found))}}  {_line(found[name])}" for name in sorted(found)]
    more = "explained by stratoscope fit --model.help NAME, --data.help NAME, --data.corruption.help NAME, ..."
    return "\n".join([*lines[1:], "", more])


def ours(base: type) -> Iterator[type[Any]]:
    """The classes of stratoscope below a base that can be named on the command line."""
    for child in subclasses([base]):
        if child.__module__.startswith(HOMES):
            yield child


def parameter_count(network: type[Classifier]) -> int | None:
    """Trainable parameters of a network as it is by default; None if it cannot be built without more."""
    try:
        with torch.device("meta"):
            built = network()  # type: ignore[call-arg]  # subclasses bring their own network
    except (TypeError, ValueError, ImportError):
        return None
    return sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad)


def _line(child: type) -> str:
    text = " ".join((inspect.getdoc(child) or "").split("\n\n")[0].split())
    if not issubclass(child, Classifier):
        return text
    count = parameter_count(child)
    shape = "x".join(map(str, child.image_shape))
    return f"{text} {f'{count:,} parameters, ' if count else ''}{shape} images by default."
