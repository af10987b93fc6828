"""A frozen network, left exactly as it was found."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within the block the module is in evaluation mode and no gradient is recorded; after it all is as before.

    Every submodule's own mode, every buffer and the state of every global random generator (Python, NumPy, torch, all
    CUDA devices in use) are put back, also when the block raises. So training goes on bit for bit as if the block had
    not run.

    Args:
        module: The network to measure.

    Yields:
        Nothing; measure inside the block.
    """
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
        for buffer, before in buffers:
            buffer.copy_(before)
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
