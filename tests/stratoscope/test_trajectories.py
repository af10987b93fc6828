"""Tests that training takes one path to the bit: however it is interrupted, watched or started, wherever it is read.

Runs are forked from this process, which has imported everything already; processes that are new say why.
"""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from stratoscope.callbacks import ExactResume, LinearProbes
from stratoscope.commands.table import main
from stratoscope.datamodules import Digits
from stratoscope.fit.command import build
from tests.forked_runs import said
from tests.interrupted_runs import At, Own, assert_same_runs, differences, run, saved

STEPS = 12  # of an epoch
DATA = "--data Digits --data.corruption RandomLabels --trainer.accelerator cpu --trainer.max_epochs 3"
MLP = f"fit --model MLP --model.width 8 {DATA}"
PROBES = "--trainer.callbacks+ LinearProbes --trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.01"
PROBES += " --trainer.callbacks.train_samples 300"


OWN = f"fit --model {Own.__module__}.Own --model.inputs 2352 {DATA}"


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


class Rates(Callback):
    """Notes, in a file, the learning rate of every step, however many processes take them."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note it."""
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        place = f"{trainer.current_epoch}/{batch_idx}/{trainer.global_step}"
        with self.file.open("a") as text:
            text.write(f"{place} {rate!r}\n")

    @staticmethod
    def curve(file: str) -> dict[str, str]:
        """The rates by place; a step that was taken twice had the same one both times."""
        found: dict[str, str] = {}
        for line in Path(file).read_text().splitlines():
            place, rate = line.split()
            assert found.setdefault(place, rate) == rate, line
        return found


class InAFit(Callback):
    """Sends this process SIGTERM in the middle of the probes' fits after some epochs."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Get ready."""
        probes = next(one for one in trainer.callbacks if isinstance(one, LinearProbes))  # type: ignore[attr-defined]
        fit, probe = probes._fit, probes.measure

        def interrupted(*layer: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return fit(*layer)

        def watched(trainer: Trainer, module: LightningModule, epoch: int, fails: bool = True) -> None:
            vars(probes)["_fit"] = interrupted if epoch == self.epoch else fit
            probe(trainer, module, epoch, fails)

        vars(probes)["measure"] = watched


class InASave(Callback):
    """Sends this process SIGTERM while the checkpoint of an epoch is being written."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Get ready."""
        finished = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        if finished == 2:  # not when the place before its end is kept
            flush = os.fsync

            def interrupted(file: int) -> None:
                os.fsync = flush
                os.kill(os.getpid(), signal.SIGTERM)
                flush(file)

            os.fsync = interrupted  # type: ignore[assignment]


TERM, KILL = signal.SIGTERM, signal.SIGKILL
PLACES = {  # moment, epoch, batch, signal, steps in the checkpoint
    "step 1": ("on_train_batch_start", 0, 0, TERM, 1),
    "middle": ("on_train_batch_start", 1, 5, TERM, STEPS + 6),
    "last batch": ("on_train_batch_start", 1, 11, TERM, 2 * STEPS),
    "epoch end": ("on_train_epoch_end", 1, 0, TERM, 2 * STEPS),
    "killed": ("on_train_batch_end", 1, 7, KILL, STEPS),
    "after the last epoch": ("on_train_end", 3, 0, KILL, 3 * STEPS),
}
SCHEDULES = {
    "by epoch": MLP,
    "cosine": f"{MLP} --model.scheduler CosineAnnealingLR --model.scheduler.T_max 3",
    "no validation": f"{MLP} --trainer.limit_val_batches 0",
    "own, by step": OWN,
}
FAST = {
    "by epoch": [],
    "cosine": ["middle"],
    "own, by step": ["middle", "killed"],
    "no validation": [],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "places"),
    [
        *((name, places) for name, places in FAST.items() if places),
        *(
            pytest.param(name, [place for place in PLACES if place not in FAST[name]], marks=pytest.mark.slow)
            for name in SCHEDULES
        ),
    ],
)
def test_runs_without_probes_go_on_anywhere(schedule: str, places: list[str]) -> None:
    """Weights, optimiser, metrics and every step's learning rate are those of an uninterrupted run."""
    line = SCHEDULES[schedule]
    assert run(f"{line} --run whole", Rates("whole")) == 0, said()
    expected = Rates.curve("whole")
    assert len(expected) == 3 * STEPS
    assert len(set(expected.values())) == (3 * STEPS if schedule == "own, by step" else 3)
    for place in places:
        moment, epoch, batch, number, step = PLACES[place]
        name = place.replace(" ", "_")
        code = run(f"{line} --run {name}", Rates(name), At(moment, epoch, batch, number))
        assert code == (-number if number == KILL else 128 + number), said()
        assert saved(name)["global_step"] == step
        assert run(f"{line} --run {name}", Rates(name)) == 0, said()
        assert_same_runs("whole", name)
        assert Rates.curve(name) == expected


@pytest.mark.parametrize(
    ("bound", "last"),
    [
        ("--trainer.max_steps 5", 4),
        pytest.param("--trainer.max_steps 12", 11, marks=pytest.mark.slow),
        pytest.param("--trainer.limit_train_batches 7", 6, marks=pytest.mark.slow),
    ],
)
def test_a_signal_at_the_last_step_of_all_leaves_the_end_to_be_done(bound: str, last: int) -> None:
    """The epoch that the bound has cut, or that is over, has its metrics and probes when the run goes on."""
    line = f"{MLP} {PROBES} --trainer.max_epochs 1 {bound}"
    assert run(f"{line} --run whole") == 0, said()
    assert run(f"{line} --run ended", At("on_train_batch_start", 0, last, TERM)) == 128 + TERM, said()
    assert saved("ended")["global_step"] == last + 1
    assert run(f"{line} --run ended") == 0, said()
    assert_same_runs("whole", "ended")


class Stop(Callback):
    """Saves and stops in the middle of an epoch, or stops when the one before was saved."""

    def __init__(self, epoch: int, batch: int | None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """In the middle."""
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            trainer.save_checkpoint("saved/stopped.ckpt")
            raise RuntimeError("stopped")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """When the epoch before has ended."""
        if trainer.current_epoch == self.epoch and self.batch is None:
            Path("saved/epoch.ckpt").rename("saved/stopped.ckpt")
            raise RuntimeError("stopped")


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(1, 4), (0, 0), (2, None)])
def test_exact_resume_works_in_any_trainer(epoch: int, batch: int | None) -> None:
    """With our data module and ExactResume, and nothing else of ours, a module ends as if it had not been stopped."""
    names = ("logger", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(names, False)
    ends, rates = [], []
    for file, stops in (("whole", []), ("parts", [Stop(epoch, batch)])):
        trainer, module = None, None
        for last in ([*stops], []) if stops else ([],):
            torch.manual_seed(0)
            module, callbacks = Own(2352), [ExactResume(3), Rates(file), *last]
            saves = ModelCheckpoint("saved", "epoch", save_on_train_epoch_end=True, enable_version_counter=False)
            trainer = Trainer(
                max_epochs=3,
                accelerator="cpu",
                callbacks=[*callbacks, saves],
                num_sanity_val_steps=0,
                log_every_n_steps=1,
                **quiet,
            )
            with pytest.raises(RuntimeError, match="stopped") if last else contextlib.nullcontext():
                going_on = "saved/stopped.ckpt" if stops and not last else None
                trainer.fit(module, datamodule=Digits(seed=1), ckpt_path=going_on)
        assert trainer is not None
        assert module is not None
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        ends.append([module.state_dict(), trainer.optimizers[0].state_dict(), found])
        rates.append(Rates.curve(file))
    assert ends[0][2].keys() == {"train/accuracy", "train/loss", "test/loss"}
    assert not list(differences(ends[0], ends[1]))
    assert rates[0] == rates[1]


@pytest.mark.slow
def test_a_signal_waits_for_the_gradients_that_accumulate() -> None:
    """A checkpoint never lies inside an accumulation window; the run goes on from behind it as if uninterrupted."""
    line = f"{MLP} --data.batch_size 144 --trainer.accumulate_grad_batches 4"  # windows of 4, 4 and 2 batches
    assert run(f"{line} --run whole", Rates("whole")) == 0, said()
    for name, batch, taken, step in (("inside", 5, 8, 5), ("end", 3, 4, 4), ("short", 8, 0, 6)):
        stop = At("on_train_batch_start", 1, batch, TERM)
        assert run(f"{line} --run {name}", Rates(name), stop) == 128 + TERM, said()
        assert saved(name)["global_step"] == step
        assert saved(name)["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"taken": taken}]
        assert run(f"{line} --run {name}", Rates(name)) == 0, said()
        assert_same_runs("whole", name)
        assert Rates.curve(name) == Rates.curve("whole")


@pytest.mark.slow  # six of the ten kinds of runs that test_kills.py ends accumulate gradients
def test_a_run_killed_inside_an_accumulation_window_goes_on() -> None:
    """Gradients that were not used yet are no part of a checkpoint, and are made again."""
    line = f"{OWN} --trainer.accumulate_grad_batches 5"
    assert run(f"{line} --run whole") == 0, said()
    assert run(f"{line} --run killed", At("on_train_batch_end", 1, 6)) == -KILL
    assert run(f"{line} --run killed") == 0, said()
    assert_same_runs("whole", "killed")


@pytest.mark.slow
def test_a_fresh_interpreter_with_another_hash_seed_goes_on() -> None:
    """Sets and hashes of strings decide nothing: probes' random projections and control labels stay what they were."""
    line = f"{MLP} --trainer.max_epochs 2 {PROBES} --trainer.callbacks.reduction random_projection"
    line += " --trainer.callbacks.width 5"
    line += (
        " --trainer.callbacks.measures [control,rank] --trainer.callbacks+ OnlineProbes --trainer.callbacks.taps *relu*"
    )
    assert run(f"{line} --run whole") == 0, said()
    assert run(f"{line} --run stopped", At("on_train_batch_start", 1, 5, TERM)) == 128 + TERM, said()
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    own = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    words = [sys.executable, "-m", "stratoscope", "resume", "runs/stopped"]
    done = subprocess.run(words, env={**os.environ, **own}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_runs("whole", "stopped")


@pytest.mark.slow
def test_what_watches_a_run_does_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes after every epoch, every fifth or never, W&B, validation now and then: the weights are the same."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    line = OWN.replace("max_epochs 3", "max_epochs 6")
    every = "--trainer.callbacks.every_n_epochs"
    probes = PROBES.replace("*relu*", "network.3")
    watchers = {
        "nothing": "",
        "probes": f"{probes} {every} 1 --trainer.callbacks+ OnlineProbes --trainer.callbacks.taps network.3",
        "rare-probes": f"{probes} {every} 5",
        "rare-validation": "--trainer.check_val_every_n_epoch 3",
        "wandb": f"{probes} {every} 3 --trainer.logger WandbLogger --trainer.logger.offline true",
    }
    for name, options in watchers.items():
        main(f"{line} {options} --run {name}".split())
    import wandb

    wandb.finish()
    first = saved("nothing")
    for name in watchers:
        assert first["global_step"] == 6 * STEPS
        for part in ("state_dict", "optimizer_states", "lr_schedulers"):
            assert not list(differences(saved(name)[part], first[part])), (name, part)
    assert [row["epoch"] for row in rows("rare-probes/probes.csv") if row["split"] == "test"] == ["0", "0", "5", "5"]
    assert list(Path("runs/wandb/wandb").glob("offline-run-*/*.wandb"))


def rows(file: str) -> list[dict[str, str]]:
    """The rows of a run's table."""
    with Path("runs", file).open(newline="") as text:
        return list(csv.DictReader(text))


SIGNALLED: dict[str, tuple[Callable[[], list[Callback]], int, int | None]] = {  # callbacks, exit code, steps saved
    "first probes": (lambda: [InAFit(0)], 128 + TERM, None),
    "probes": (lambda: [InAFit(2)], 128 + TERM, 2 * STEPS),
    "last probes": (lambda: [InAFit(3)], 128 + TERM, 3 * STEPS),
    "save": (lambda: [InASave()], 128 + TERM, 2 * STEPS),
    "validation, again": (
        lambda: [At("on_validation_batch_end", 1, 0, number) for number in (TERM, signal.SIGUSR1)],
        128 + signal.SIGUSR1,
        STEPS,
    ),
    "end of an epoch, again": (
        lambda: [At("on_train_epoch_end", 1, 0, number) for number in (signal.SIGINT, TERM)],
        128 + TERM,
        STEPS,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "places",
    [
        ["probes", "save", "validation, again"],
        pytest.param(["first probes", "last probes", "end of an epoch, again"], marks=pytest.mark.slow),
    ],
)
def test_signals_during_probes_saves_and_validation(places: list[str]) -> None:
    """What can be done again is given up, a save is not but for a second signal; the run goes on as uninterrupted."""
    line = f"{MLP} {PROBES}"
    assert run(f"{line} --run whole") == 0, said()
    for place in places:
        callbacks, code, step = SIGNALLED[place]
        name = place.replace(" ", "_").replace(",", "")
        assert run(f"{line} --run {name}", *callbacks()) == code, said()
        file = Path(f"runs/{name}/checkpoints/last.ckpt")
        assert (saved(name)["global_step"] if file.is_file() else None) == step
        assert not list(Path(f"runs/{name}").rglob("*.part"))
        if code:
            assert run(f"{line} --run {name}") == 0, said()
        assert_same_runs("whole", name)


def test_the_config_of_a_run_gives_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    """config.yaml given to `fit --config` elsewhere: the same printed config, the same losses to the last digit."""
    line = f"{MLP} {PROBES} --data.augmentation RandomCrop --data.augmentation.padding 2 --seed_everything 5"
    line += " --trainer.max_epochs 1"
    main(f"{line} --run first".split())
    config = Path("runs/first/config.yaml").resolve()
    first = rows("first/metrics.csv")
    with pytest.raises(SystemExit):
        main(f"{line} --print_config".split())
    printed = capsys.readouterr().out.partition("seed_everything")[2]
    Path("elsewhere").mkdir()
    with contextlib.chdir("elsewhere"):
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(config), "--print_config"])
        again = capsys.readouterr().out.partition("seed_everything")[2]
        expected = yaml.safe_load(f"seed_everything{printed}")
        expected["data"]["init_args"]["corruption"]["init_args"]["seed"] = 5  # what is stored has it written out
        assert yaml.safe_load(f"seed_everything{again}") == expected
        main(["fit", "--config", str(config), "--run", "second"])
        second = rows("second/metrics.csv")
    assert first[1]["train/loss"]
    assert second == first
    assert Path("elsewhere/runs/second/config.yaml").read_text() == config.read_text()


ELSEWHERE = """
import sys
from collections import OrderedDict
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"stratoscope", "lightning", "pytorch_lightning", "lightning_fabric"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import torch
from torch import nn

try:
    import lightning
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("lightning is there")
weights = torch.load(sys.argv[1], weights_only=True)["state_dict"]
weights = {name.removeprefix("network."): tensor for name, tensor in weights.items()}
layers = {"fc1": nn.Linear(2352, 8), "relu1": nn.ReLU(), "fc2": nn.Linear(8, 8), "relu2": nn.ReLU()}
network = nn.Sequential(OrderedDict(flatten=nn.Flatten(), **layers, logits=nn.Linear(8, 10)))
network.load_state_dict(weights)
saved = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    assert torch.equal(network(saved["image"]), saved["logits"])
assert not {"stratoscope", "lightning"} & sys.modules.keys()
"""


def test_a_checkpoint_is_read_without_this_package() -> None:
    """In an interpreter that has neither it nor Lightning the weights load into plain torch: the same logits."""
    line = f"{MLP} --trainer.max_epochs 1 --model.depth 2 {PROBES} --trainer.callbacks.measures [rank,similarity]"
    line += " --trainer.callbacks+"
    built = build([*line.split(), "OnlineProbes", "--trainer.callbacks.taps", "*relu*", "--run", "one"])
    built.start()
    image = built.datamodule.sets["test"].__getitems__(range(50)).image
    with torch.no_grad():
        logits = built.model.eval()(image)
    torch.save({"image": image, "logits": logits}, "expected.pt")
    words = [sys.executable, "-c", ELSEWHERE, "runs/one/checkpoints/last.ckpt", "expected.pt"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


PARTS = {  # options, steps at the end of every epoch
    "fast_dev_run": ("--trainer.fast_dev_run true", []),
    "overfit_batches": ("--trainer.overfit_batches 2", [0, 2, 4, 6]),
    "limit_train_batches": ("--trainer.limit_train_batches 0.3", [0, 3, 6, 9]),
    "max_steps": ("--trainer.max_steps 17", [0, 12, 17]),
    "max_steps at the end of an epoch": ("--trainer.max_steps 24", [0, 12, 24]),
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_the_data_are_trained_on_and_probed(part: str) -> None:
    """Every epoch, also one that was cut, has its rows in both tables; fast_dev_run leaves no more than a table."""
    options, steps = PARTS[part]
    main(f"{MLP} {PROBES} {options} --run part".split())
    left = {path.name for path in Path("runs/part").iterdir()}
    always = {"config.yaml", "run.json", "probes.csv", "separability.png"}
    epochs = [str(epoch) for epoch, _ in enumerate(steps)] or ["0", "1"]
    kinds = 2 if steps else 1 + (len({row["labels"] for row in rows("part/probes.csv")}) - 1)
    found = rows("part/probes.csv")
    assert [row["epoch"] for row in found] == [epoch for epoch in epochs for _ in range(2 * kinds)]
    assert all(0 < float(row["accuracy"]) <= 1 for row in found)
    assert json.loads(Path("runs/part/run.json").read_text())["status"] == "finished"
    if not steps:
        assert left == always
        assert {row["count"] for row in found} == {"100"}
        return
    assert left == {*always, "metrics.csv", "checkpoints"}
    metrics = rows("part/metrics.csv")
    assert [int(row["step"]) for row in metrics] == steps
    assert all(float(row["train/loss"]) > 0 for row in metrics[1:])
    assert saved("part")["global_step"] == steps[-1]


class Seen(Callback):
    """Notes the training samples of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[int]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a list."""
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the batch."""
        self.epochs[-1] += batch.index.tolist()


@pytest.mark.slow
def test_overfit_batches_are_the_same_in_every_epoch() -> None:
    """Or a network could not memorise them, which is what the option is for."""
    built, seen = build(f"{MLP} --trainer.overfit_batches 2".split()), Seen()
    built.trainer.callbacks.insert(0, seen)  # type: ignore[attr-defined]
    built.start()
    assert [len(epoch) for epoch in seen.epochs] == [256] * 3
    assert len({tuple(epoch) for epoch in seen.epochs}) == 1


@pytest.mark.parametrize("option", ["overfit_batches", "limit_val_batches"])
def test_a_share_of_less_than_a_batch_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The 360 test images are one batch: a quarter of it is none. One line, exit code 2, nothing on the disk."""
    with pytest.raises(SystemExit) as ended:
        main(f"{MLP} --trainer.{option} 0.25".split())
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"--trainer.{option}" in message
    assert message.count("\n") == 1
    assert not list(Path().iterdir())
