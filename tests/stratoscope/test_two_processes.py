"""Two processes train as one does: the same samples at every step, the same losses, the same table; and go on as one.

The processes are connected by gloo, as a launcher would start them.
"""

import contextlib
import csv
import json
import math
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.commands.table import main
from stratoscope.run.checkpoint import load_checkpoint
from tests.forked_runs import command, finish, finish_pair, forked, said
from tests.interrupted_runs import At

# neither set divides by two, nor does the last of seven batches
TRAIN, TEST, BATCH, STEPS = 101, 41, 16, 7
FIT = (
    "fit --model MLP --model.width 16 --model.inputs 192 --data Shapes --data.size 8 --data.augmentation RandomFlip "
    f"--data.train_size {TRAIN} --data.test_size {TEST} --data.batch_size {BATCH} --data.corruption RandomLabels "
    "--trainer.accelerator cpu --threads 1"
)
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu*"
PAIR = "--trainer.devices 2 --trainer.strategy DDPStrategy --trainer.strategy.timeout 0:00:20"
ALONE = "--trainer.devices 1 --trainer.strategy auto"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


class Steps(Callback):
    """Notes loss and samples of every step in steps-<name>.jsonl, one line per process.

    Args:
        name: Of the run.
    """

    def __init__(self, name: str) -> None:
        self.file = Path(f"steps-{name}.jsonl")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note them; short lines are appended whole."""
        with self.file.open("a") as out:
            index, loss = batch.index.tolist(), float(outputs["loss"])
            out.write(json.dumps([trainer.current_epoch, batch_idx, trainer.global_rank, index, loss]) + "\n")


def steps(name: str) -> dict[tuple[int, int], tuple[list[int], float]]:
    """By epoch and batch: the samples of all processes, in order, and their mean loss."""
    shares = defaultdict(list)
    for line in Path(f"steps-{name}.jsonl").read_text().splitlines():
        epoch, batch, *share = json.loads(line)
        shares[epoch, batch].append(share)
    found = {}
    for place, parts in sorted(shares.items()):
        index = [one for _, part, _ in sorted(parts) for one in part]
        found[place] = (index, sum(len(part) * loss for _, part, loss in parts) / len(index))
    return found


def run(line: str, name: str, *callbacks: Callback) -> Callable[[], None]:
    """A run that notes its steps."""
    return command(f"{line} --run {name}".split(), Steps(name), *callbacks)


def rows(file: str) -> list[dict[str, str]]:
    """A table."""
    with Path(file).open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which one process has trained for three epochs."""
    folder = tmp_path_factory.mktemp("alone")
    with contextlib.chdir(folder):
        assert finish(forked(run(f"{FIT} --trainer.max_epochs 3 {ALONE}", "whole"))) == 0, said()
    return folder


STOP = At("on_train_batch_start", 1, 2, signal.SIGTERM)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes were asked to end in the second of three epochs."""
    folder = tmp_path_factory.mktemp("pair")
    with contextlib.chdir(folder):
        ended = finish_pair(run(f"{FIT} --trainer.max_epochs 3 {PAIR}", "begun", STOP), "begun")
        assert ended == [128 + signal.SIGTERM, 0], said()
    return folder


@pytest.fixture
def _beside_whole(alone: Path) -> None:
    """That run is in the working directory, too."""
    Path("runs").mkdir()
    for name in ("runs/whole", "steps-whole.jsonl"):
        Path(name).symlink_to(alone / name)


def test_two_processes_train_like_one() -> None:
    """In float64: losses of every step to 1e-6 and better, probe tables to 1e-9; as long as the batches divide by 2."""
    line = (
        f"{FIT} {PROBES} --trainer.precision 64-true --trainer.limit_train_batches {STEPS - 1} --trainer.max_epochs 2"
    )
    assert finish(forked(run(line, "one"))) == 0, said()
    assert finish_pair(run(f"{line} {PAIR}", "two"), "two") == [0, 0], said()
    one, two = steps("one"), steps("two")
    assert list(one) == list(two) == [(epoch, batch) for epoch in range(2) for batch in range(STEPS - 1)]
    for place in one:
        assert one[place][0] == two[place][0]
        assert one[place][1] == pytest.approx(two[place][1], rel=1e-9)
    for alone, together in zip(rows("runs/one/metrics.csv"), rows("runs/two/metrics.csv"), strict=True):
        assert [float(value or "nan") for value in alone.values()] == pytest.approx(
            [float(value or "nan") for value in together.values()], rel=1e-6, nan_ok=True
        )
    tables = rows("runs/one/probes.csv"), rows("runs/two/probes.csv")
    assert {int(row["epoch"]) for row in tables[0]} == {0, 1, 2}
    for alone, together in zip(*tables, strict=True):
        for name in ("epoch", "layer", "labels", "split", "correct", "count", "accuracy", "converged"):
            assert alone[name] == together[name]
        assert float(alone["loss"]) == pytest.approx(float(together["loss"]), rel=1e-9)


@pytest.mark.slow
def test_two_processes_train_like_one_in_single_precision() -> None:
    """Losses of the steps of an epoch to 1e-6."""
    line = f"{FIT} --trainer.limit_train_batches {STEPS - 1} --trainer.max_epochs 1"
    assert finish(forked(run(line, "one"))) == 0, said()
    assert finish_pair(run(f"{line} {PAIR}", "two"), "two") == [0, 0], said()
    one, two = ([loss for _, loss in steps(name).values()] for name in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-6)


@pytest.mark.slow
def test_every_sample_counts_once() -> None:
    """One of a last batch that does not divide is left out in training; of the test set none, and none comes twice."""
    line = f"{FIT} {PROBES} --trainer.max_epochs 2 --model.optimizer.lr 0"
    assert finish(forked(run(line, "one"))) == 0, said()
    assert finish_pair(run(f"{line} {PAIR}", "two"), "two") == [0, 0], said()
    one, two = steps("one"), steps("two")
    left = []
    for epoch in range(2):
        whole = [index for (at, _), (part, _) in one.items() if at == epoch for index in part]
        shared = [index for (at, _), (part, _) in two.items() if at == epoch for index in part]
        assert sorted(whole) == list(range(TRAIN))
        assert shared == whole[:-1]
        left.append(whole[-1])
    assert left[0] != left[1]
    for name, count in (("one", TRAIN), ("two", TRAIN - 1)):
        trained = [row for row in rows(f"runs/{name}/metrics.csv") if row["train/accuracy"]]
        assert len(trained) == 2
        for row in trained:
            for split, samples in (("train", count), ("test", TEST)):
                correct = float(row[f"{split}/accuracy"]) * samples
                assert correct == pytest.approx(round(correct), abs=1e-4), (name, split)
    assert [row["test/accuracy"] for row in rows("runs/one/metrics.csv")] == [
        row["test/accuracy"] for row in rows("runs/two/metrics.csv")
    ]
    assert Path("runs/one/probes.csv").read_bytes() == Path("runs/two/probes.csv").read_bytes()
    assert {(row["split"], int(row["count"])) for row in rows("runs/two/probes.csv")} == {
        ("train", TRAIN),
        ("test", TEST),
    }


@pytest.mark.usefixtures("_beside_whole")
def test_who_only_looks_needs_no_shares_of_batches() -> None:
    """`validate` of two processes and a batch size that does not divide by two: the numbers of one process."""
    stored = "--ckpt_path runs/whole/checkpoints/last.ckpt --data.batch_size 15"
    line = f"{FIT.replace('fit', 'validate', 1)} {PROBES} {stored}"
    assert finish(forked(command(f"{line} --run one".split()))) == 0, said()
    assert finish_pair(command(f"{line} {PAIR} --run two".split()), "two") == [0, 0], said()
    assert Path("runs/one/probes.csv").read_bytes() == Path("runs/two/probes.csv").read_bytes()
    (alone,), (together,) = rows("runs/one/metrics.csv"), rows("runs/two/metrics.csv")
    assert alone["test/accuracy"] == together["test/accuracy"]
    assert float(alone["test/loss"]) == pytest.approx(float(together["test/loss"]), rel=1e-6)
    assert {row["count"] for row in rows("runs/two/probes.csv") if row["split"] == "train"} == {str(TRAIN)}


def test_a_run_does_not_change_its_number_of_processes(pair: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its metrics would be of other samples in the middle: exit code 2, with both numbers, and nothing is touched."""
    shutil.copytree(pair / "runs", "runs")
    before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
    with pytest.raises(SystemExit) as refused:
        main(f"{FIT} --trainer.max_epochs 3 {ALONE} --run begun".split())
    assert refused.value.code == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert message.startswith("stratoscope: run begun has another config: ")
    assert 'trainer.devices: "2" before, "1" now' in message
    assert message.endswith("give this one another --run")
    assert before == {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}


@pytest.mark.usefixtures("_beside_whole")
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_next_samples(first: int, second: int, pair: Path) -> None:
    """From the middle of an epoch, in a run of its own: the samples of every global step are those of one run."""
    line = f"{FIT} --trainer.max_epochs 3"
    if first == 2:
        shutil.copytree(pair, ".", dirs_exist_ok=True)
    else:
        assert finish(forked(run(f"{line} {ALONE}", "begun", STOP))) == 128 + signal.SIGTERM, said()
    assert load_checkpoint("runs/begun/checkpoints/last.ckpt")["global_step"] == STEPS + 3
    line += " --ckpt_path runs/begun/checkpoints/last.ckpt"
    if second == 2:
        assert finish_pair(run(f"{line} {PAIR}", "on"), "on") == [0, 0], said()
    else:
        assert finish(forked(run(f"{line} {ALONE}", "on"))) == 0, said()
    whole, begun, on_with = steps("whole"), steps("begun"), steps("on")
    assert [*begun, *on_with] == list(whole)
    assert list(begun)[-1] == (1, 2)
    for place, (index, _) in {**begun, **on_with}.items():
        processes = first if place in begun else second
        share = len(whole[place][0]) // processes * processes
        assert index == whole[place][0][:share]
    end = load_checkpoint("runs/on/checkpoints/last.ckpt")
    assert end["global_step"] == 3 * STEPS
    assert all(bool(torch.isfinite(value).all()) for value in end["state_dict"].values())


@pytest.mark.usefixtures("_beside_whole")
def test_the_loss_between_solutions_is_that_of_one_process() -> None:
    """Byte for byte, with samples that do not divide by two."""
    line = (
        "validate --ckpt_path runs/whole/checkpoints/last.ckpt --trainer.callbacks LossPath --trainer.callbacks.path "
        "plane --trainer.callbacks.points 3 --trainer.callbacks.train_samples 100"
    )
    assert finish(forked(command(f"{line} {ALONE} --run one".split()))) == 0, said()
    assert finish_pair(command(f"{line} {PAIR} --run two".split()), "two") == [0, 0], said()
    assert Path("runs/two/path.csv").read_bytes() == Path("runs/one/path.csv").read_bytes()
    assert len(rows("runs/two/path.csv")) == 9 * 2 * 2


class OneBad(Callback):
    """Spoils the images of one process at a step."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Spoil them."""
        if trainer.global_rank == 1 and trainer.global_step == STEPS + 2:
            batch.image.fill_(math.nan)


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_process_ends_both() -> None:
    """Both end before the update, with the step, and do not say that a loss was NaN which was none."""
    line = f"{FIT} --trainer.max_epochs 3 {PAIR} --run r"

    def child() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(LightningModule, "configure_callbacks", lambda self: [OneBad()])
            main(line.split())

    assert finish_pair(child, "r") == [1, 1], said()
    lines = [line for line in said().splitlines() if line.startswith("stratoscope: the loss")]
    assert len(lines) >= 1, said()
    for line in lines:
        assert "the loss is nan" in line
        assert f"at step {STEPS + 3} (epoch 2, batch 3); it has changed no weight" in line
    checkpoint = load_checkpoint("runs/r/checkpoints/last.ckpt")
    assert checkpoint["global_step"] == STEPS
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint["state_dict"].values())
    assert json.loads(Path("runs/r/run.json").read_text())["status"] == "failed"
