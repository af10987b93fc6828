"""Of several processes, one that raises, dies or hangs ends them all, and is named.

Those that wait for it get an error from the library that connects them: at once if its connection is gone, else at the
time-out of the strategy. Such an error names nobody. So whoever gets one calls the roll in the store that all processes
share: who is alive is answered by a thread of each, and whose waiting times out by their own errors. The one that is
missing is the cause. Everyone's thread then ends its process, whatever that is stuck in.
"""

import os
import sys
from threading import Event, Thread

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.distributed_c10d import Store, _get_default_store

from stratoscope.printable import printable
from stratoscope.run.interruption import Interrupted

LOOK = 0.5  # seconds between looks into the store
ROLL = 3.0  # seconds within which others answer
GRACE = 8.0  # seconds to end by oneself; W&B may need six


class EndTogether(Callback):
    """Ends all processes of a run when one of them cannot go on; does nothing in a run of one process."""

    def __init__(self) -> None:
        self._over = Event()
        self._store: Store | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to watch."""
        if trainer.world_size > 1 and dist.is_initialized():
            shared, self._over = _get_default_store(), Event()
            self._store, watched = shared.clone(), shared.clone()  # one for each thread
            Thread(target=_watch, args=(watched, self._over), daemon=True).start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End as one should."""
        self._over.set()
        self._store = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the others, and say who is the cause."""
        if self._store is None or isinstance(exception, Interrupted):
            return
        cause = f"{type(exception).__name__}: {' '.join(str(exception).split())[:300]}"
        try:
            if cause := _told(self._store, cause, of_connection=_of_connection(exception)):
                print(f"stratoscope: {printable(cause)}; all processes end", file=sys.stderr, flush=True)
        except RuntimeError:  # the first process keeps the store
            print("stratoscope: rank 0 has died; all processes end", file=sys.stderr, flush=True)


def _told(store: Store, error: str, of_connection: bool) -> str:
    """Put an error where the others look, and give the cause if this process is the first that knows of it."""
    rank, ranks = dist.get_rank(), range(dist.get_world_size())
    store.set(f"error/{rank}", error)
    if store.add("errors", 1) > 1:
        return ""
    store.set("ending", error)
    if not of_connection:
        return f"rank {rank} of {len(ranks)} raised {error}"
    Event().wait(ROLL)
    dead = [other for other in ranks if not store.check([f"alive/{other}"])]
    absent = [other for other in ranks if not store.check([f"error/{other}"])]
    if dead:
        return f"{_listed(dead)} of {len(ranks)} has died ({error})"
    if absent:
        return f"{_listed(absent)} of {len(ranks)} hangs: the others timed out waiting for it ({error})"
    return f"the connection between the processes is gone ({error})"


def _watch(store: Store, over: Event) -> None:
    """Until the end, look whether another process has come to a bad one; then answer, and end this one too."""
    while not over.wait(LOOK):
        try:
            if not store.check(["ending"]):
                continue
            store.set(f"alive/{dist.get_rank()}", "")
        except RuntimeError:  # rank 0 has ended, and with it the store
            pass
        if not over.wait(GRACE):
            os._exit(1)


def _of_connection(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _listed(ranks: list[int]) -> str:
    return f"rank {', '.join(map(str, ranks))}"
