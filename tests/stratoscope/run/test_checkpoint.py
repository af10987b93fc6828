"""Tests of stratoscope/run/checkpoint.py: checkpoints are whole, good or named, and known by their digests."""

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.fit.command import build
from stratoscope.run.checkpoint import (
    LastCheckpoint,
    WholeFiles,
    _replace_lost,
    check_weights,
    load_checkpoint,
    newest_good,
)
from tests.forked_runs import finish, forked, said
from tests.interrupted_runs import FIT, PLAIN, STEPS, assert_same_runs, run, saved


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def damaged(file: Path, how: str) -> None:
    """Damage a file."""
    content = bytearray(file.read_bytes())
    if how == "a flipped bit":
        content[len(content) // 2] ^= 1
    file.write_bytes({"truncated": bytes(content[:1000]), "empty": b"", "junk": b"junk" * 999}.get(how, bytes(content)))


@pytest.mark.usefixtures("beside_whole")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("truncated", marks=pytest.mark.slow),
        "empty",
        pytest.param("junk", marks=pytest.mark.slow),
        "a flipped bit",
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(how: str, killed: Path) -> None:
    """The run ends like an uninterrupted one all the same."""
    line = f"{FIT} --run damaged"
    shutil.copytree(killed, "runs/damaged")
    damaged(Path("runs/damaged/checkpoints/last.ckpt"), how)
    assert run(line) == 0, said()
    assert "last.ckpt is damaged" in said()
    assert "going on from runs/damaged/checkpoints/previous.ckpt" in said()
    assert_same_runs("whole", "damaged")


def test_without_a_good_checkpoint_the_run_is_refused(killed: Path) -> None:
    """Beginning anew in its place would lose it without a word."""
    shutil.copytree(killed, "runs/damaged")
    for name in ("last.ckpt", "previous.ckpt"):
        damaged(Path(f"runs/damaged/checkpoints/{name}"), "truncated")
    with pytest.raises(Refused, match=r"no checkpoint that could be used: .*last.ckpt.*previous.ckpt"):
        build(f"{FIT} --run damaged".split())


def test_checkpoints_are_plain_torch_files(whole: Path) -> None:
    """They load with weights_only, and the weights into a network without this package's loaders."""
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    assert newest_good(whole / "checkpoints") == (whole / "checkpoints" / "last.ckpt", [])


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 74; the checkpoint before is untouched, and the run goes on from it when there is room."""
    line = f"{PLAIN} --trainer.max_epochs 2 --run full"
    save = LastCheckpoint._save_checkpoint
    for error in (OSError(28, "No space left on device"), PermissionError(13, "denied")):

        def fails(_: int, error: OSError = error) -> None:
            raise error

        def failing(self: LastCheckpoint, trainer: Trainer, path: str) -> None:
            if trainer.current_epoch == 1:
                monkeypatch.setattr(os, "fsync", fails)
            save(self, trainer, path)

        def child() -> None:
            monkeypatch.setattr(LastCheckpoint, "_save_checkpoint", failing)
            main(line.split())

        assert finish(forked(child)) == 74
        assert str(error.strerror) in said()
        assert saved("full")["global_step"] == STEPS
        assert not list(Path("runs/full/checkpoints").glob(".*"))
    assert run(line) == 0, said()


class KilledWhileWriting(Callback):
    """Kills this process when the first file of the second epoch's checkpoint is to reach the disk."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The bytes are in a file by then, under another name than the checkpoint's."""
        finished = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        if finished == 2:  # not when the place before its end is kept
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]


@pytest.mark.usefixtures("beside_whole")
def test_a_run_killed_while_it_writes_a_checkpoint_goes_on() -> None:
    """From the one before; what was half written is never read, and cleared away."""
    line = f"{FIT} --run torn"
    assert run(line, KilledWhileWriting()) == -signal.SIGKILL
    assert list(Path("runs/torn/checkpoints").glob(".*.part"))
    assert saved("torn")["global_step"] == STEPS
    assert run(line) == 0, said()
    assert not list(Path("runs/torn/checkpoints").glob(".*"))
    assert_same_runs("whole", "torn")


def test_saves_that_are_killed_leave_good_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a save is cut off before the file is replaced, the last two good ones are known as such."""
    file, writer = tmp_path / "last.ckpt", WholeFiles()

    def save(number: int) -> None:
        writer.save_checkpoint({"state_dict": {}, "number": number}, file)

    save(1)
    save(2)
    replace = os.replace

    def killed(part: Path, target: Path) -> None:
        if Path(target) == file:
            raise KeyboardInterrupt
        replace(part, target)

    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                save(3)
        assert load_checkpoint(str(file))["number"] == 2
        assert load_checkpoint(str(tmp_path / "previous.ckpt"))["state_dict"] == {}
    save(4)
    found = [load_checkpoint(str(tmp_path / name)) for name in ("last.ckpt", "previous.ckpt")]
    assert [checkpoint["number"] for checkpoint in found] == [4, 2]
    damaged(file, "a flipped bit")
    save(5)  # does not keep the damaged one in place of the good one before it
    assert load_checkpoint(str(tmp_path / "previous.ckpt"))["number"] == 2


def test_a_checkpoint_that_is_removed_takes_its_digest_along(tmp_path: Path) -> None:
    """And only last.ckpt leaves the one before: a file of its own, whatever is saved beside it."""
    writer, last, best = WholeFiles(), tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    for number, file in enumerate((best, last, best, last, best)):
        writer.save_checkpoint({"state_dict": {}, "number": number}, file)
    assert load_checkpoint(str(tmp_path / "previous.ckpt"))["number"] == 1
    assert [file.stat().st_nlink for file in tmp_path.glob("*.ckpt")] == [1, 1, 1]
    writer.remove_checkpoint(best)
    kept = ["last.ckpt", "previous.ckpt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*kept, *(f"{name}.sha256" for name in kept)])
    last.unlink()
    last.symlink_to(best)  # as `save_last: link` does
    writer.save_checkpoint({"state_dict": {}, "number": 5}, best)
    writer.save_checkpoint({"state_dict": {}, "number": 6}, last)
    assert load_checkpoint(str(tmp_path / "previous.ckpt"))["number"] == 1
    assert [load_checkpoint(str(file))["number"] for file in (best, last)] == [5, 6]


def test_files_that_another_callback_knows_or_has_saved_are_taken(tmp_path: Path) -> None:
    """Of those that nobody knows each is replaced once."""
    first, second = (ModelCheckpoint(dirpath=tmp_path, filename="best") for _ in range(2))
    for name in ("best", "best-v1", "lost", "last", "previous"):
        (tmp_path / f"{name}.ckpt").touch()
    first.best_model_path, second.best_model_path = str(tmp_path / "best.ckpt"), str(tmp_path / "best-v1.ckpt")
    _replace_lost([first, second], tmp_path)
    agreed = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    trainer: Any = SimpleNamespace(strategy=agreed, is_global_zero=True, loggers=[], global_step=1)
    trainer.save_checkpoint = lambda *_: None
    there = {name: str(tmp_path / f"{name}.ckpt") for name in ("best", "best-v1", "lost", "last", "previous")}
    for callback in (first, second):
        assert [callback.file_exists(file, trainer) for file in there.values()] == [True, True, False, True, True]
    first._save_checkpoint(trainer, there["lost"])
    assert [callback.file_exists(there["lost"], trainer) for callback in (first, second)] == [True, True]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no file x.ckpt"),
        (b"", "is damaged or no checkpoint"),
        (b"not torch", "is damaged or no checkpoint"),
        ({"layer.weight": torch.ones(1)}, "it has no state_dict, its keys are layer.weight"),
        (torch.ones(1), "it holds no mapping"),
        ({"state_dict": {}, "loops": 3}, "is no checkpoint that can be used"),
        ({"state_dict": {}, "stratoscope_cut": {"loops": 3}}, "is no checkpoint that can be used"),
        ({"state_dict": {}, "stratoscope_format": 2}, "is of a newer stratoscope"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: Any, part: str) -> None:
    """With the file, and what it is instead."""
    if isinstance(content, bytes):
        Path("x.ckpt").write_bytes(content)
    elif content is not None:
        torch.save(content, "x.ckpt")
    with pytest.raises(Refused, match=rf"^--ckpt_path: .*x\.ckpt.*{part}|{part}"):
        load_checkpoint("x.ckpt")


def test_a_file_is_compared_with_its_digest() -> None:
    """One without is taken as it is; another file in its place is damaged, though torch could read it."""
    WholeFiles().save_checkpoint({"state_dict": {}, "number": 1}, "x.ckpt")
    torch.save({"state_dict": {}, "number": 2}, "x.ckpt")
    with pytest.raises(Refused, match=r"x\.ckpt is damaged: its SHA-256 is not the one in x\.ckpt\.sha256"):
        load_checkpoint("x.ckpt")
    Path("x.ckpt.sha256").unlink()
    assert load_checkpoint("x.ckpt")["number"] == 2


def test_the_newest_good_one_is_found_with_reasons_against_newer_ones() -> None:
    """None where there is none."""
    folder = Path("checkpoints")
    assert newest_good(folder) == (None, [])
    for number in (1, 2):
        WholeFiles().save_checkpoint({"state_dict": {}, "number": number}, folder / "last.ckpt")
    assert newest_good(folder) == (folder / "last.ckpt", [])
    damaged(folder / "last.ckpt", "empty")
    found, (reason,) = newest_good(folder)
    assert found == folder / "previous.ckpt"
    assert reason.startswith("checkpoints/last.ckpt is damaged")


def test_the_cut_last_epoch_is_used_by_longer_runs_only() -> None:
    """A run with the same bounds, and one that only reads, have the epoch as it ended."""
    part = {"epoch": 0, "global_step": 3, "stratoscope_cut": {"callbacks": {"a": 1}}}
    trainer = {"max_epochs": 9, "max_steps": 3}
    WholeFiles().save_checkpoint({"state_dict": {}, **part, "stratoscope_config": {"trainer": trainer}}, "x.ckpt")
    for now, longer in ((None, False), (trainer, False), ({**trainer, "max_steps": 5}, True)):
        read = WholeFiles(now).load_checkpoint("x.ckpt")
        assert "stratoscope_cut" not in read
        assert ("callbacks" in read) == longer


def test_weights_that_do_not_fit_are_named() -> None:
    """The first by name with both shapes, and how many more; a prefix by which only names differ is told."""
    network = nn.Sequential(nn.Linear(2, 3))
    torch.save({"state_dict": network.state_dict()}, "x.ckpt")
    check_weights("x.ckpt", network)
    with pytest.raises(Refused, match=r"0\.weight is \(3, 2\) in the checkpoint, \(4, 2\) in the model \(and 1 more\)"):
        check_weights("x.ckpt", nn.Sequential(nn.Linear(2, 4)))
    with pytest.raises(Refused, match=r"0\.bias is \(3,\) in the checkpoint, missing in the model$"):
        check_weights("x.ckpt", nn.Sequential(nn.Linear(2, 3, bias=False)))
    torch.save({"state_dict": {f"module.{name}": weight for name, weight in network.state_dict().items()}}, "x.ckpt")
    with pytest.raises(Refused, match="only a prefix differs"):
        check_weights("x.ckpt", network)
