"""Tests of probes/reading/storage.py."""

import os
from pathlib import Path

import pytest
import torch

from stratoscope.probes.reading.storage import room


def test_a_tensor_in_a_file_is_a_tensor_and_its_file_has_no_name(tmp_path: Path) -> None:
    """It can be written, read, sliced and multiplied like any other; the folder is empty all the while."""
    folder = tmp_path / "new" / "folder"
    x = room((1000, 30), torch.float32, folder=folder)
    assert x.shape == (1000, 30)
    assert x.dtype == torch.float32
    numbers = torch.randn(1000, 30, generator=torch.Generator().manual_seed(0))
    x[:] = numbers
    assert list(folder.iterdir()) == []
    assert torch.equal(x, numbers)
    assert torch.equal(x.T @ x, numbers.T @ numbers)
    assert torch.equal(x.sub_(1), numbers - 1)


def test_a_tensor_in_a_file_is_in_the_file(tmp_path: Path) -> None:
    """The process maps a deleted file of the folder, as large as the tensor, as long as the tensor lives."""

    def mapped() -> int:
        lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
        ends = [line.split()[0].split("-") for line in lines if line.endswith("(deleted)")]
        return sum(int(end, 16) - int(start, 16) for start, end in ends)

    x = room((3000, 1000), torch.float64, folder=tmp_path)
    assert mapped() >= 8 * x.numel()
    del x
    assert mapped() == 0


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,)])
def test_empty_tensors_need_no_file(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A process without a sample of its own keeps nothing."""
    assert room(shape, torch.float32, folder=tmp_path).shape == shape


def test_a_full_disk_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the file."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        room((10, 10), torch.float32, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
