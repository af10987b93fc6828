"""The options that every benchmark has: how large it is, and on which images."""

import argparse
from typing import Any, TypeVar

from stratoscope.datamodules import CIFAR10, Corruption, ImageDataModule, RandomSubset, Shapes

Size = TypeVar("Size")


def parser(description: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser with `--quick`, `--rehearse` and `--data`.

    Args:
        description: The script's docstring, of which the first line is shown.
        quick: What is smaller with `--quick`.
    """
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    size = made.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{quick}: within two minutes on a core")
    size.add_argument("--rehearse", action="store_true", help="as small as can be, in seconds: numbers mean nothing")
    made.add_argument("--data", metavar="FOLDER", help="folder of real CIFAR-10; generated images otherwise")
    return made


def sized(options: argparse.Namespace, full: Size, quick: Size, rehearsed: Size) -> Size:
    """What is asked for.

    Args:
        options: As parsed.
        full: By default.
        quick: With `--quick`.
        rehearsed: With `--rehearse`.
    """
    return rehearsed if options.rehearse else quick if options.quick else full


def images(folder: str | None, samples: int, *corruptions: Corruption, **settings: Any) -> ImageDataModule:
    """Training images of 28x28 pixels, loaded.

    Args:
        folder: Of real CIFAR-10; None generates them.
        samples: Their number.
        corruptions: What else is done to them.
        settings: Of the data module.
    """
    changes: list[Corruption] = [RandomSubset(samples), *corruptions]
    data: ImageDataModule = (
        CIFAR10(folder, corruption=changes, **settings)
        if folder
        else Shapes(train_size=samples, test_size=min(1000, samples), size=28, corruption=changes, **settings)
    )
    data.prepare_data()
    data.setup()
    return data
