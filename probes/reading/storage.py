"""Room for features, in memory or in files that are read in as they are used."""

import os
import tempfile
from math import prod
from pathlib import Path

import torch
from torch import Tensor


def room(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str = "cpu", folder: Path | None = None
) -> Tensor:
    """An uninitialised tensor, in memory or, given a folder, in a file.

    A file is mapped: reading it takes memory that the system takes back when it is needed elsewhere. It has no name and
    goes with the tensor, or with the process, however that ends. Numbers are the same either way.

    Args:
        shape: Of the tensor.
        dtype: Of the tensor.
        device: Of a tensor in memory; one in a file is on the CPU.
        folder: Where the file is made; None keeps the tensor in memory.

    Raises:
        OSError: If the file cannot be made, such as on a full disk.
    """
    size = prod(shape)
    if folder is None or not size:
        return torch.empty(shape, dtype=dtype, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".features-", dir=folder)
    try:
        os.posix_fallocate(handle, 0, size * dtype.itemsize)  # a full disk is an error now, not a signal later
        return torch.from_file(name, shared=True, size=size, dtype=dtype).view(shape)
    finally:
        os.close(handle)
        os.unlink(name)
