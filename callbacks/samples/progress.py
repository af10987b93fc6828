"""A progress bar for what happens between epochs."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar
from tqdm import tqdm

from stratoscope.probes.giving_up import go_on

Item = TypeVar("Item")


def tracked(trainer: Trainer, items: Iterable[Item], text: str) -> Iterator[Item]:
    """Go through the items behind a bar that disappears when done.

    Between two of them all may be given up.

    There is a bar where training has one: on the first process, in a terminal, unless the trainer's is turned off.
    Rich cannot show a second bar beside its own.

    Args:
        trainer: Whose progress bar to stand beside.
        items: What to go through.
        text: What is being done.
    """
    bar = trainer.progress_bar_callback
    hidden = bar is None or isinstance(bar, RichProgressBar) or not trainer.is_global_zero or not sys.stderr.isatty()
    for item in tqdm(items, text, leave=False, disable=hidden, position=1):
        go_on()
        yield item
