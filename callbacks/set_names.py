"""What a test set is called in metrics and tables."""

from collections.abc import Sequence
from typing import Any


def set_names(loaders: Sequence[Any]) -> list[str]:
    """Names of the sets that loaders read: their data set's `name`, else test, or test0, test1, ... of several.

    Args:
        loaders: Of all test sets.

    Raises:
        ValueError: If two have one name.
    """
    default = ["test"] if len(loaders) == 1 else [f"test{number}" for number in range(len(loaders))]
    names = [
        str(getattr(getattr(loader, "dataset", None), "name", name))
        for loader, name in zip(loaders, default, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ValueError(f"test sets must have different names, got {', '.join(names)}")
    return names
