"""Lightning's own callbacks and options beside LinearProbes: each works, with the numbers it has without.

Or it is refused: on the command line in one line, before anything is written.
"""

import json
import os
import signal
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ModelSummary,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks import LinearProbes
from stratoscope.commands.table import main
from stratoscope.datamodules import Shapes
from stratoscope.fit.command import build
from stratoscope.models import MLP
from stratoscope.run.checkpoint import load_checkpoint

# Lightning's advice on sizes, loggers, loaders and folders of this rehearsal
pytestmark = [
    pytest.mark.usefixtures("no_pictures"),
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*(Swapping scheduler|overfit|params to be frozen|anomaly)"),
]
SMALL = (
    "--model MLP --model.width 4 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 60 "
    "--data.test_size 30 --data.batch_size 10 --trainer.accelerator cpu --trainer.enable_progress_bar false --threads 1"
)
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.1"
FIT = f"fit {SMALL} --trainer.max_epochs 3 {PROBES}"
ACCURACY = "probe/true_label/test/network.relu1"
Schedule = Callable[[torch.optim.Optimizer], LRScheduler]


class Somebody(LightningModule):
    """A module as people write them: pairs of image and label, loaders of its own, metrics of its own names."""

    def __init__(self, schedule: Schedule | None = None, monitor: str | None = None) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 3))
        self.schedule, self.monitor = schedule, monitor
        self.lr, self.batch_size = 0.1, 10

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.backbone(image))
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return and log the loss."""
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log the loss."""
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        """SGD, with BackboneFinetuning for what is not frozen, and with a schedule if there is one."""
        optimizer = SGD([one for one in self.parameters() if one.requires_grad], lr=self.lr, momentum=0.9)
        if self.schedule is None:
            return optimizer
        made: dict[str, Any] = {"scheduler": self.schedule(optimizer), "interval": "epoch" if self.monitor else "step"}
        return {"optimizer": optimizer, "lr_scheduler": made | ({"monitor": self.monitor} if self.monitor else {})}

    def train_dataloader(self) -> DataLoader[Any]:
        """60 samples, shuffled."""
        return self._loader(60, 0)

    def val_dataloader(self) -> DataLoader[Any]:
        """30 samples."""
        return self._loader(30, 1)

    def _loader(self, samples: int, seed: int) -> DataLoader[Any]:
        image = torch.randn(samples, 6, generator=torch.Generator().manual_seed(seed))
        return DataLoader(TensorDataset(image, image[:, :3].argmax(1)), self.batch_size, shuffle=seed == 0)


def ours(schedule: Schedule | None = None, monitor: str | None = None) -> tuple[LightningModule, LightningDataModule]:
    """A network and data of this project."""
    watched = None if monitor is None else "test/loss"
    settings: dict[str, Any] = {} if schedule is None else {"scheduler": schedule, "monitor": watched}
    data = Shapes(train_size=60, test_size=30, size=8, batch_size=10)
    return MLP(width=4, inputs=3 * 8 * 8, **settings), data


def theirs(schedule: Schedule | None = None, monitor: str | None = None) -> tuple[LightningModule, None]:
    """A network that somebody else wrote."""
    return Somebody(schedule, monitor), None


def trained(folder: Path, network: Any, probes: list[Callback], **options: Any) -> tuple[LightningModule, Trainer]:
    """Train from seed 0."""
    seed_everything(0, verbose=False)
    schedule = {name: options.pop(name) for name in ("schedule", "monitor") if name in options}
    module, data = network(**schedule)
    callbacks = options.pop("callbacks", list)()
    quiet: dict[str, Any] = {"enable_progress_bar": any("ProgressBar" in type(one).__name__ for one in callbacks)}
    quiet |= {"enable_model_summary": False, "enable_checkpointing": False, "max_epochs": 2, "log_every_n_steps": 1}
    logger: Any = CSVLogger(folder)
    run = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=logger,
        callbacks=[*callbacks, *probes],
        **{**quiet, "devices": 1, **options},
    )
    run.fit(module, datamodule=data)
    return module, run


def state(module: LightningModule, run: Trainer) -> dict[str, Any]:
    """All that training leaves: weights and buffers, moments, learning rates, metrics, and how far it came."""
    found: dict[str, Any] = dict(module.state_dict())
    for number, optimizer in enumerate(run.optimizers):
        for place, entry in optimizer.state_dict()["state"].items():
            found |= {f"{number}/{place}/{name}": value for name, value in entry.items() if value is not None}
        found |= {f"{number}/{place}/lr": group["lr"] for place, group in enumerate(optimizer.param_groups)}
    metrics = {name: value for name, value in run.callback_metrics.items() if not name.startswith("probe/")}
    return {**found, **metrics, "epoch": run.current_epoch, "step": run.global_step}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two states are equal to the bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(other[name])), name


# what is tried, as the trainer's arguments (`callbacks` makes new ones for every run)
OPTIONS: dict[str, dict[str, Any]] = {
    "EMAWeightAveraging": {"callbacks": lambda: [EMAWeightAveraging(decay=0.9)]},
    "StochasticWeightAveraging": {"callbacks": lambda: [StochasticWeightAveraging(0.01, swa_epoch_start=1)]},
    "GradientAccumulationScheduler": {"callbacks": lambda: [GradientAccumulationScheduler({0: 1, 1: 2})]},
    "LearningRateMonitor": {"callbacks": lambda: [LearningRateMonitor("step")]},
    "DeviceStatsMonitor": {"callbacks": lambda: [DeviceStatsMonitor(cpu_stats=False)]},
    "ModelPruning": {"callbacks": lambda: [ModelPruning("l1_unstructured", amount=0.5)]},
    "Timer": {"callbacks": lambda: [Timer(duration={"hours": 1})]},
    "RichProgressBar": {"callbacks": lambda: [RichProgressBar()]},
    "TQDMProgressBar": {"callbacks": lambda: [TQDMProgressBar()]},
    "ModelSummary": {"callbacks": lambda: [ModelSummary(max_depth=2)]},
    "LambdaCallback": {"callbacks": lambda: [LambdaCallback(on_train_epoch_end=lambda *_: torch.rand(3))]},
    "ModelCheckpoint": {
        "callbacks": lambda: [ModelCheckpoint(every_n_train_steps=4, save_top_k=-1)],
        "enable_checkpointing": True,
    },
    "accumulate_grad_batches": {"accumulate_grad_batches": 4},
    "gradient_clip_val": {"gradient_clip_val": 0.1},
    "gradient_clip_val by value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "val_check_interval 0.5": {"val_check_interval": 0.5},
    "val_check_interval 2": {"val_check_interval": 2},
    "val_check_interval beyond the epoch": {"val_check_interval": 8, "check_val_every_n_epoch": None},
    "val_check_interval in time": {"val_check_interval": "00:01:00:00"},
    "check_val_every_n_epoch 2": {"check_val_every_n_epoch": 2},
    "max_time": {"max_time": "00:01:00:00"},
    "max_steps": {"max_steps": 8, "max_epochs": -1},
    "overfit_batches": {"overfit_batches": 2},
    "limit_train_batches": {"limit_train_batches": 3},
    "limit_train_batches, a share": {"limit_train_batches": 0.5},
    "limit_val_batches": {"limit_val_batches": 1},
    "no validation": {"limit_val_batches": 0},
    "fast_dev_run": {"fast_dev_run": 2},
    "num_sanity_val_steps": {"num_sanity_val_steps": 2},
    "reload_dataloaders_every_n_epochs": {"reload_dataloaders_every_n_epochs": 1},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "detect_anomaly": {"detect_anomaly": True},
    "profiler": {"profiler": "simple"},
    "ReduceLROnPlateau": {
        "schedule": partial(ReduceLROnPlateau, patience=0, threshold=1.0),
        "monitor": "val_loss",
    },
    "OneCycleLR": {"schedule": partial(OneCycleLR, max_lr=0.1, total_steps=12)},
}
# what Lightning asks a module to have
THEIRS: dict[str, dict[str, Any]] = {
    "overfit_batches, a share": {"overfit_batches": 0.5},
    "BackboneFinetuning": {"callbacks": lambda: [BackboneFinetuning(unfreeze_backbone_at_epoch=1)]},
    "LearningRateFinder": {"callbacks": lambda: [LearningRateFinder(num_training_steps=5)]},
    "BatchSizeFinder": {"callbacks": lambda: [BatchSizeFinder(steps_per_trial=1, init_val=4, max_trials=2)]},
}
# what may depend on whose network it is; all others are tried on ours by `make test-all`
BOTH = ("EMAWeightAveraging", "ReduceLROnPlateau", "max_steps")
# of these there are others of their kind: what only looks, and other values of the same option
LIKE_OTHERS = (
    "LearningRateMonitor",
    "DeviceStatsMonitor",
    "Timer",
    "TQDMProgressBar",
    "ModelSummary",
    "gradient_clip_val by value",
    "val_check_interval 2",
    "val_check_interval in time",
    "max_time",
    "limit_train_batches, a share",
    "gradient_clip_val",
    "check_val_every_n_epoch 2",
    "LambdaCallback",
    "limit_val_batches",
    "num_sanity_val_steps",
    "detect_anomaly",
    "profiler",
    "overfit_batches, a share",
    "BatchSizeFinder",
    "accumulate_grad_batches",  # GradientAccumulationScheduler sets it
    "val_check_interval 0.5",  # a validation within an epoch, as beyond one
    "fast_dev_run",  # limits batches, as limit_train_batches
    "overfit_batches",
    "OneCycleLR",  # ReduceLROnPlateau depends on more
)
CASES = [
    *((ours, name, options) for name, options in OPTIONS.items()),
    *((theirs, name, options) for name, options in (OPTIONS | THEIRS).items()),
]


@pytest.mark.parametrize(
    ("network", "name", "options"),
    [
        pytest.param(
            *case,
            id=f"{case[0].__name__}-{case[1]}",
            marks=[pytest.mark.slow] if case[1] in LIKE_OTHERS or (case[0] is ours and case[1] not in BOTH) else [],
        )
        for case in CASES
    ],
)
def test_training_is_the_same_with_probes(network: Any, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Weights, moments, learning rates and metrics are bit for bit those without probes; and there are probes."""
    alone = state(*trained(tmp_path / "alone", network, [], **options))
    probes = LinearProbes("*relu*" if network is ours else "backbone.*", epochs=[0, 1], tolerance=0.1)
    module, run = trained(tmp_path / "probed", network, [probes], **options)
    assert_same(alone, state(module, run))
    assert [row["failed"] for row in probes.table.rows if row["failed"]] == []
    assert probes.table.unique("epoch") == [0, 1]


WATCHED = {
    "ours": (ours, "probe/true_label/test/network.relu1"),
    "theirs": (theirs, "probe/true_label/val/backbone.2"),
}


@pytest.mark.parametrize("kind", WATCHED)
@pytest.mark.parametrize("when", [None, False])
def test_an_accuracy_of_a_probe_is_watched(kind: str, when: bool | None, tmp_path: Path) -> None:
    """At the end of training epochs or of validation; EarlyStopping stops by it, ModelCheckpoint keeps the best."""
    network, metric = WATCHED[kind]
    probes = LinearProbes(metric.rpartition("/")[2], every_n_epochs=2)
    stop = EarlyStopping(metric, mode="max", patience=2, min_delta=1.0, check_on_train_epoch_end=when)
    keep = ModelCheckpoint(tmp_path, monitor=metric, mode="max", filename="{epoch}", save_on_train_epoch_end=when)
    given: dict[str, Any] = {"callbacks": lambda: [stop, keep], "enable_checkpointing": True, "max_epochs": 9}
    _, run = trained(tmp_path, network, [probes], **given)
    assert run.current_epoch == 3  # the first look sets the best, and two more are no better by more than 1
    seen = {row["epoch"]: row["accuracy"] for row in probes.table.rows if row["split"] == metric.split("/")[2]}
    assert list(seen) == [0, 2]
    # a look after an epoch that was not probed has the accuracy of the last one that was
    assert float(stop.best_score) == torch.tensor(seen[0]).item()
    assert float(keep.best_model_score or 0) == torch.tensor(max(seen.values())).item()


def test_probes_beside_averaged_weights_read_those_that_train(tmp_path: Path) -> None:
    """EMA validates, and ends with, the averages; the probes' rows are those of a run without it."""
    found = []
    for name, callbacks in {"alone": [], "averaged": [EMAWeightAveraging(decay=0.99)]}.items():
        probes = LinearProbes("backbone.*", tolerance=0.1)
        trained(tmp_path / name, theirs, [probes], callbacks=lambda callbacks=callbacks: callbacks)
        found.append(probes.table.rows)
    assert found[0] == found[1]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with nothing in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


STOPS = "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor"
CYCLE = "--model.scheduler OneCycleLR --model.scheduler.max_lr 0.1 --model.scheduler.total_steps"
PLATEAU = "--model.scheduler torch.optim.lr_scheduler.ReduceLROnPlateau"
REFUSED = {
    f"{STOPS} train/loss --trainer.val_check_interval 0.5": "let it look at the end of the training epoch",
    f"{STOPS} test/loss --trainer.limit_val_batches 0": "no metric test/loss",
    f"{PLATEAU} --model.monitor test/loss --trainer.check_val_every_n_epoch 2": "validate every epoch, not every 2",
    "--trainer.callbacks+ LearningRateFinder": "LearningRateFinder changes what config.yaml says",
    "--trainer.callbacks+ BatchSizeFinder": "BatchSizeFinder changes what config.yaml says",
    "--trainer.strategy ddp_spawn": "use --trainer.strategy ddp",
    "--trainer.strategy ddp_fork --trainer.devices 2": "use --trainer.strategy ddp",
    "--trainer.strategy ddp_notebook": "use --trainer.strategy ddp",
    f"{STOPS} probe/true_label/test/relu1": f"no metric probe/true_label/test/relu1; did you mean {ACCURACY}?",
    f"{STOPS} val_loss": "no metric val_loss; there are train/loss, train/accuracy, test/loss, test/accuracy, probe/",
    f"{STOPS} test/accuracy_true": "did you mean test/accuracy?",
    f"--trainer.callbacks.epochs [2] {STOPS} {ACCURACY}": "add 0, the network at initialisation, to the epochs [2]",
    "--trainer.callbacks+ ModelCheckpoint --trainer.callbacks.monitor train/los": "did you mean train/loss?",
    "--trainer.callbacks+ LinearProbes": "two LinearProbes without a name",
    "--trainer.callbacks.name a --trainer.callbacks+ LinearProbes --trainer.callbacks.name a": "of the name a:",
    "--trainer.callbacks.name a/b": "name must be letters, digits and '_'",
    "--model.scheduler torch.optim.lr_scheduler.ReduceLROnPlateau --model.monitor test/los": "did you mean test/loss?",
    "--model.scheduler torch.optim.lr_scheduler.ReduceLROnPlateau --model.interval step": "interval step is not for",
    "--model.monitor test/loss": "monitor test/loss is for the schedule ReduceLROnPlateau, not for ExponentialLR",
    f"{CYCLE} 17": "OneCycleLR ends after 17 steps, the run has 18 steps: give --model.scheduler.total_steps 18",
    f"{CYCLE} 2 --model.interval epoch": "ends after 2 epochs, the run has 3 epochs",
    f"{CYCLE} 18 --trainer.max_epochs -1": "the run has no end: give --trainer.max_epochs",
}


# what is refused by the same line as another
ALSO_REFUSED = (
    "--trainer.callbacks+ BatchSizeFinder",
    "--trainer.strategy ddp_fork --trainer.devices 2",
    "--trainer.strategy ddp_notebook",
    f"{STOPS} test/accuracy_true",
    "--trainer.callbacks+ ModelCheckpoint --trainer.callbacks.monitor train/los",
)


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    "options",
    [pytest.param(one, marks=[pytest.mark.slow] if one in ALSO_REFUSED else []) for one in REFUSED],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main([*FIT.split(), *options.split(), "--run", "refused"])
    assert stop.value.code == 2
    assert not Path("runs").exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stratoscope: ")]
    assert len(lines) == 1
    assert REFUSED[options] in lines[0]


ACCEPTED = [
    "--trainer.callbacks+ ModelCheckpoint --trainer.callbacks.monitor step --trainer.callbacks.mode max",
    f"{STOPS} train/loss",
    f"{STOPS} test/loss --trainer.check_val_every_n_epoch 2",
    f'{CYCLE} 9 --trainer.callbacks+ GradientAccumulationScheduler --trainer.callbacks.scheduling {{"0":2}}',
    f"{CYCLE} 1 --model.interval epoch --trainer.max_epochs -1 --trainer.max_steps 9",
]


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("options", ACCEPTED)
def test_what_can_work_is_not_refused(options: str) -> None:
    """The same kinds, with what they watch or count there in time."""
    build([*FIT.split(), *options.split()])


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("made", ["optimizer", "[optimizer], [self.scheduler(optimizer)]"])
def test_a_network_may_configure_its_optimizers_itself(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any of Lightning's forms."""
    lines = ["from stratoscope.models import MLP", "", "", "class Mine(MLP):", "    def configure_optimizers(self):"]
    lines += ["        optimizer = self.optimizer(self.parameters())", f"        return {made}"]
    name = f"mine_{len(made)}"
    Path(f"{name}.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(Path.cwd())
    build(f"{FIT} {STOPS} train/loss".replace("--model MLP", f"--model {name}.Mine").split())


class Interrupting(Callback):
    """Asks the run to end, as a scheduler does, in a step."""

    def __init__(self, step: int) -> None:
        self.step, self.sent = step, False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Send the signal."""
        if trainer.global_step == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


CONTINUED = {
    "EMAWeightAveraging": "--trainer.callbacks+ EMAWeightAveraging",
    "GradientAccumulationScheduler": "--trainer.callbacks+ GradientAccumulationScheduler "
    '--trainer.callbacks.scheduling {"0":1,"1":2}',
    "StochasticWeightAveraging": "--trainer.callbacks+ StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.01 "
    "--trainer.callbacks.swa_epoch_start 2",
    "EarlyStopping": f"{STOPS} {ACCURACY} --trainer.callbacks.mode max --trainer.callbacks.patience 1 "
    "--trainer.callbacks.min_delta 0.01",
    "ReduceLROnPlateau": "--model.scheduler torch.optim.lr_scheduler.ReduceLROnPlateau --model.scheduler.patience 0 "
    "--model.scheduler.threshold 1.0 --model.monitor test/loss",
    "ReduceLROnPlateau of Lightning": "--model.scheduler lightning.pytorch.cli.ReduceLROnPlateau "
    "--model.scheduler.monitor train/loss --model.scheduler.patience 0 --model.scheduler.threshold 1.0",
    "OneCycleLR": f"{CYCLE} 18",
    "every step": "--model.interval step",
    "two LinearProbes": "--trainer.callbacks+ LinearProbes --trainer.callbacks.name deep --trainer.callbacks.taps "
    "*logits* --trainer.callbacks.ridge 0.1",
}


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.filterwarnings("ignore:.*Unable to serialize")
@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(  # in the middle of an epoch
            pytest.param(name, 8, marks=[] if name in {"EMAWeightAveraging", "EarlyStopping"} else [pytest.mark.slow])
            for name in CONTINUED
        ),
        pytest.param("StochasticWeightAveraging", 12, marks=pytest.mark.slow),  # in its last step
        ("ReduceLROnPlateau", 12),
        pytest.param("ReduceLROnPlateau", 3, marks=pytest.mark.slow),  # in the first epoch, so that two more follow
    ],
)
def test_an_interrupted_run_goes_on_exactly(name: str, step: int) -> None:
    """Weights, optimiser, schedule and every file are those of the uninterrupted run."""
    line = [*FIT.split(), *CONTINUED[name].split()]
    if "Averaging" in name:
        deepcopy(build([*line, "--run", "copied"]).model)  # what averages weights needs
    main([*line, "--run", "whole"])
    command = build([*line, "--run", "parts"])
    command.trainer.callbacks.append(Interrupting(step))  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as stop:
        command.start()
    assert stop.value.code == 128 + signal.SIGTERM
    main([*line, "--run", "parts"])
    assert json.loads(Path("runs/parts/run.json").read_text())["status"] == "finished"
    whole, parts = (load_checkpoint(f"runs/{name}/checkpoints/last.ckpt") for name in ("whole", "parts"))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(flat(whole[key]), flat(parts[key]))
    for file in Path("runs/whole").glob("*.csv"):
        assert file.read_bytes() == Path("runs/parts", file.name).read_bytes(), file.name


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """The numbers of a nested value, by their places."""
    if isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: number for at, part in parts for name, number in flat(part, f"{key}/{at}").items()}
    return {key: value} if isinstance(value, Tensor | int | float) else {}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_notebook_strategies_work_in_python(strategy: str, tmp_path: Path) -> None:
    """Two processes that a notebook starts train as they do without probes, and leave the table."""
    alone, _ = trained(tmp_path / "alone", theirs, [], strategy=strategy, devices=2)
    probes = LinearProbes("backbone.*", epochs=[0, 1])
    probed, _ = trained(tmp_path / "probed", theirs, [probes], strategy=strategy, devices=2)
    assert_same(dict(alone.state_dict()), dict(probed.state_dict()))
    assert len(list((tmp_path / "probed").rglob("probes.csv"))) == 1
