"""Commands in processes of their own, forked from this one, which has imported everything already."""

import contextlib
import gc
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import jaxtyping
import pytest
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_only

from stratoscope.experiments import launcher
from stratoscope.fit.command import build
from tests.made_once import share
from tests.pictures import draw_nothing

FORK = multiprocessing.get_context("fork")


def forked(
    run: Callable[[], object], environment: Mapping[str, str] = MappingProxyType({}), pictures: bool = False
) -> BaseProcess:
    """Start something in a process of its own, whose exit code is the command's; what it says goes to run.log.

    Args:
        run: What to start.
        environment: Variables of that process.
        pictures: Whether the probes' pictures are drawn, see `draw_nothing`.
    """

    def child() -> None:
        os.environ.update(environment)
        jaxtyping.config.update("jaxtyping_disable", True)  # shapes are checked where probes are tested
        if not pictures:
            draw_nothing()
        # read from the environment when Lightning was imported, which was before the fork
        rank_zero_only.rank = int(environment.get("LOCAL_RANK", "0"))  # type: ignore[attr-defined]
        with (
            Path("run.log").open("a", buffering=1, encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            os.dup2(log.fileno(), 2)
            run()

    process = FORK.Process(target=child)
    gc.freeze()  # what is there already is not looked through again, and so not copied, by every child
    process.start()
    gc.unfreeze()
    return process


def finish(process: BaseProcess) -> int:
    """Wait for a process and return its exit code; one that hangs is ended."""
    process.join(120)
    hangs = process.exitcode is None
    if hangs:
        process.kill()
        process.join()
    assert not hangs, f"the run hangs: {said()}"
    assert process.exitcode is not None
    return process.exitcode


def said() -> str:
    """What all processes have said so far."""
    return Path("run.log").read_text(encoding="utf-8")


def command(words: Sequence[str], *callbacks: Callback) -> Callable[[], None]:
    """What runs a command line, with further callbacks in front."""

    def start() -> None:
        built = build(list(words))
        built.trainer.callbacks[:0] = callbacks  # type: ignore[attr-defined]
        built.start()

    return start


def finish_pair(run: Callable[[], object], name: str) -> list[int]:
    """Start something as the two processes of one run, as a launcher would, and return their exit codes.

    Args:
        run: What both start.
        name: Of the run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "STRATOSCOPE_RUN": name}
    processes = [forked(run, {**shared, "LOCAL_RANK": str(rank)}) for rank in range(2)]
    return [finish(process) for process in processes]


def fork_runs(put: Callable[[Any, str, Any], None]) -> None:
    """Let experiments fork their runs from this process, and not from a server, which imports everything first.

    Those of a launcher in another process come from its server, as they do for users.

    Args:
        put: Sets attributes, as pytest's monkeypatch does.
    """
    here = os.getpid()

    def context(kind: str) -> Any:
        return FORK if os.getpid() == here else multiprocessing.get_context(kind)

    def ensure_running() -> None:
        if os.getpid() != here:
            forkserver.ensure_running()

    put(
        launcher, "multiprocessing", SimpleNamespace(get_context=context, parent_process=multiprocessing.parent_process)
    )
    put(launcher, "forkserver", SimpleNamespace(ensure_running=ensure_running))


def _warm() -> None:
    """Do once what every forked command would begin with: imports, and the parser's look at all signatures."""
    import matplotlib.figure  # noqa: F401

    environment = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        share(patch.setattr)
        build(["fit", "--model", "MLP", "--data", "Digits", "--trainer.accelerator", "cpu"])
    os.environ.clear()
    os.environ.update(environment)


_warm()
