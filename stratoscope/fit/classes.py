"""Which classes an option of the command line can name, and what these take."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stratoscope import callbacks, models  # noqa: F401 - or their classes would not be among the subclasses
from stratoscope.datamodules import Augmentation, Corruption, ShiftedSet

BASES = (
    LightningModule,
    LightningDataModule,
    Corruption,
    Augmentation,
    ShiftedSet,
    Callback,
    Logger,
    Optimizer,
    LRScheduler,
)
OPTIONS: dict[str, type] = {
    "--model": LightningModule,
    "--data": LightningDataModule,
    "--data.corruption": Corruption,
    "--data.augmentation": Augmentation,
    "--data.shifted": ShiftedSet,
    "--trainer.callbacks": Callback,
    "--trainer.logger": Logger,
}


def subclasses(bases: Iterable[type], abstract: bool = False) -> Iterator[type[Any]]:
    """All public classes below the given ones that are imported so far.

    Args:
        bases: The classes.
        abstract: Whether those are meant of which no object can be made; else those of which one can.
    """
    stack: list[type] = list(bases)
    while stack:
        children: list[type] = stack.pop().__subclasses__()
        stack += children
        for child in children:
            if not child.__name__.startswith("_") and inspect.isabstract(child) == abstract:
                yield child


def parameters(child: type) -> list[str]:
    """Names of a class's arguments that can be options; what it passes on to its base class too."""
    names: dict[str, None] = {}
    for part in inspect.getmro(child):
        if "__init__" in vars(part):
            own = list(inspect.signature(vars(part)["__init__"]).parameters.values())[1:]
            given = {"network"} if names else set()  # a subclass builds it
            rest = {one.name for one in own if one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD}}
            names |= {one.name: None for one in own if one.name not in rest | given}
            if not rest:
                break
    return [name for name in names if name != "params"]
