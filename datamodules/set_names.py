"""What the sets that a network is validated or tested on are called in metrics and tables."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from lightning.pytorch.utilities import CombinedLoader, rank_zero_info

TAKEN = ("train", "held_out")  # what the training set and the samples kept from it are called


def named_sets(loaders: Any, default: str = "val") -> dict[str, Any]:
    """The loaders by the names of their sets, each name once.

    A set is called what its loader is called in a dictionary of loaders; else what its data set says, if it has a text
    called `name`; else `val` or `test`. Names are people's own, so they may be equal, or be ours: later ones become
    `name#2`, `name#3`, ..., which is said once.

    Args:
        loaders: What a validation or test loader hook returned: a loader, or a collection of them.
        default: What sets without a name are called.
    """
    flat = CombinedLoader(loaders).flattened
    keys = list(loaders) if isinstance(loaders, Mapping) and len(loaders) == len(flat) else [None] * len(flat)
    wanted = [_name(loader, default) if key is None else str(key) for key, loader in zip(keys, flat, strict=True)]
    names = distinct(wanted)
    for name, before in zip(names, wanted, strict=True):
        if name != before and before != default:
            _say(f"another set is called {before} already: this one is {name} in metrics and tables")
    return dict(zip(names, flat, strict=True))


def distinct(names: Iterable[str], taken: Iterable[str] = TAKEN) -> list[str]:
    """The same names, but for `#2`, `#3`, ... behind those that come again.

    Args:
        names: Any.
        taken: Names that are not free.
    """
    found, used = [], {*taken}
    for name in names:
        new, number = name, 1
        while new in used:
            number += 1
            new = f"{name}#{number}"
        used.add(new)
        found.append(new)
    return found


def _name(loader: Any, default: str) -> str:
    own = getattr(getattr(loader, "dataset", None), "name", None)
    return own if isinstance(own, str) and own else default


@cache
def _say(line: str) -> None:
    rank_zero_info(line)
