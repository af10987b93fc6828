"""Tests of probes/reading/storage.py."""

import os
from pathlib import Path

import pytest
import torch

from stratoscope.probes.linear.budget import GIB, Budget
from stratoscope.probes.linear.logistic import working_memory
from stratoscope.probes.reading.storage import room

WIDTHS = {"input": 1000, "conv": 1000, "fc": 100, "logits": 10}
FITTED, SAMPLES = 50_000, 60_000


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


def test_without_a_bound_all_is_kept_in_memory() -> None:
    """The default."""
    assert Budget(None, 1, 2, 10).in_files(WIDTHS, FITTED, SAMPLES) == set()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_is_kept_in_memory_fits(ranks: int) -> None:
    """Shares of the layers, one whole layer where several processes share, and the work of fitting; in order."""
    work = max(working_memory(FITTED, width, 4, 10) for width in WIDTHS.values())
    kept_before = -1
    for tenths in range(0, 12):
        memory = work + tenths * 0.1 * 4 * SAMPLES * sum(WIDTHS.values())
        kept = WIDTHS.keys() - Budget(memory, ranks, 4, 10).in_files(WIDTHS, FITTED, SAMPLES)
        shares = sum(4 * -(-SAMPLES // ranks) * WIDTHS[layer] for layer in kept)
        whole = max((4 * SAMPLES * WIDTHS[layer] for layer in kept), default=0) if ranks > 1 else 0
        assert work + shares + whole <= memory
        assert len(kept) >= kept_before
        kept_before = len(kept)
    assert kept_before == len(WIDTHS) or ranks > 1


def test_too_little_to_fit_at_all_is_refused() -> None:
    """The error says how much is needed."""
    with pytest.raises(ValueError, match=r"memory of 0.01 GiB is too little: fitting alone takes 0.\d\d GiB"):
        Budget(0.01 * GIB, 1, 2, 10).in_files(WIDTHS, FITTED, SAMPLES)
