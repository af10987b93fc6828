"""A frozen network, left exactly as it was found."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from stratoscope.probes.reading.snapshot import Snapshot, fingerprint


@contextmanager
def frozen(module: nn.Module, compare: bool = False) -> Iterator[list[str]]:
    """Within the block the module is in evaluation mode and no gradient is recorded; after it all is as before.

    The module's own `train` is called as it would be by anybody, so that one which merges weights also unmerges them.
    Then all that it holds (see `Snapshot`) is put back by name, by identity and by value: parameters, buffers, modes,
    gradients, hooks, attributes; and the state of every random generator, the global ones (Python, NumPy, torch, all
    CUDA devices in use) and its own. All of it also when the block raises. So training goes on bit for bit as if the
    block had not run. Within it Lightning's modules log nothing: a pass that only looks is no step of training.

    Args:
        module: The network to measure.
        compare: Whether to compare all with what it was, which takes about as long as to read the weights a few times.

    Yields:
        A list; if asked to compare, it has after the block the names of what is not as it was all the same, such as an
        iterator that a module reads on in.

    Raises:
        ValueError: If the network has parameters that its first batch is to make.
    """
    _refuse_unmade(module)
    changed: list[str] = []
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    before = fingerprint(module) if compare else {}
    snapshot, modes = Snapshot(module), [(part, part.training) for part in module.modules()]
    logging = [part for part in module.modules() if _logs(part)]
    try:
        for part in logging:
            vars(part)["log"] = _nothing
        with torch.no_grad():
            module.eval()
            yield changed
    finally:
        for part in logging:
            vars(part).pop("log", None)
        try:
            with torch.no_grad():
                for part, training in modes:  # from the outside in
                    if part.training != training:
                        part.train(training)
        finally:
            with torch.no_grad():
                snapshot.put_back()
            if compare:
                after = fingerprint(module)
                changed += [name for name in {**before, **after} if before.get(name) != after.get(name)]
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_rng_state(cpu)
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)


def _refuse_unmade(module: nn.Module) -> None:
    """Refuse a lazy network: its first pass draws its weights, for good, and not when training would have drawn them.

    Raises:
        ValueError: If it is one, with the layer.
    """
    for name, part in module.named_modules():
        if any(map(nn.parameter.is_lazy, [*part.parameters(recurse=False), *part.buffers(recurse=False)])):
            raise ValueError(
                f"{type(module).__name__}'s {name or 'weight'} ({type(part).__name__}) has no weights before its first "
                "batch draws them, so a look at it would change training: run the network on a batch when it is made, "
                "as torch asks of lazy modules"
            )


def _logs(part: nn.Module) -> bool:
    """Whether it is one of Lightning's modules: by the name of their class, as this package does without Lightning."""
    return any(kind.__name__ == "LightningModule" for kind in type(part).__mro__)


def _nothing(*_: Any, **__: Any) -> None:
    """Log nothing."""
