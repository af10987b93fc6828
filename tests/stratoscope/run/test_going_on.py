"""Tests of what may change when a run goes on, and of where each bound of a run leaves it."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.classification import MulticlassAUROC

from stratoscope.callbacks.guards.exact_loops import ExactEpochLoop
from stratoscope.commands.table import main
from stratoscope.datamodules import Batch
from stratoscope.errors import Refused
from stratoscope.fit.command import build
from stratoscope.probes import fit_logistic
from stratoscope.probes.giving_up import given_up_by
from stratoscope.results.frame import load_run
from stratoscope.run.going_on import check_longer, sorted_out
from stratoscope.run.interruption import Interrupted, StopOnSignal
from tests.forked_runs import command, said
from tests.interrupted_runs import At, assert_same_runs, differences, run, saved
from tests.stratoscope.test_kills import DATA, LINEAR, MLP, ONLINE, StepByStep

FIT = f"fit {MLP} {DATA} --trainer.accelerator cpu --threads 1"  # 4 batches an epoch


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def fit(line: str, *callbacks: Callback) -> None:
    """Run a command line, with further callbacks in front."""
    os.environ.pop("STRATOSCOPE_RUN", None)
    command(line.split(), *callbacks)()


def record(name: str) -> dict[str, Any]:
    """What run.json holds."""
    found: dict[str, Any] = json.loads(Path(f"runs/{name}/run.json").read_text())
    return found


PROBED = f"{FIT} {LINEAR} {ONLINE} --run".replace("*1", "*relu1")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of three epochs, with probes."""
    folder = tmp_path_factory.mktemp("probed")
    with contextlib.chdir(folder):
        assert run(f"{PROBED} whole --trainer.max_epochs 3") == 0, said()
    return folder / "runs" / "whole"


@pytest.fixture
def _beside_probed(probed: Path) -> None:
    """That run is in the working directory, too."""
    Path("runs").mkdir()
    Path("runs/whole").symlink_to(probed)


class Listed(StepByStep):
    """One with a metric that keeps all of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.area = MulticlassAUROC(num_classes=10)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The same, with that metric."""
        with torch.no_grad():
            self.area.update(self.network(batch.image), batch.given_label)
        self.log("train/area", self.area, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)


class Late(Callback):
    """Lets a minute pass in the fifth step.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Wait."""
        if trainer.global_step == 4:
            self.clock[0] += 60


def test_max_time_bounds_a_session_and_the_run_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped behind a step within an epoch, not finished; the next session has as much time again."""
    clock = [1000.0]
    monkeypatch.setattr("stratoscope.run.interruption.time", SimpleNamespace(monotonic=lambda: clock[0]))
    line = f"{FIT} --trainer.max_epochs 3 --run"
    fit(f"{line} whole")
    with pytest.raises(SystemExit) as ended:
        fit(f"{line} parts --trainer.max_time 00:00:01:00", Late(clock))
    assert ended.value.code == 0
    assert "max_time is over: the run is saved; the same command with --run goes on" in capsys.readouterr().err
    assert saved("parts")["global_step"] == 5
    assert load_run("runs/parts").status == record("parts")["status"] == "stopped"
    main(["resume", "runs/parts"])
    assert_same_runs("whole", "parts")


def assert_made_longer(name: str) -> None:
    """A run that was made longer has ended like the one that was as long from the start, and says that it was."""
    for part in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert not list(differences(saved("whole")[part], saved(name)[part], part))
    for file in ("metrics.csv", "probes.csv", "online_probes.csv", "config.yaml"):
        assert Path(f"runs/whole/{file}").read_text() == Path(f"runs/{name}/{file}").read_text(), file
    (change,) = record(name)["changes"]
    assert change["what"][0].startswith("trainer.max_")
    assert record(name)["status"] == "finished"


@pytest.mark.usefixtures("_beside_probed")
def test_a_finished_run_trains_longer() -> None:
    """It ends like one that was as long from the start; and says that it was changed."""
    fit(f"{PROBED} longer --trainer.max_epochs 1")
    fit(f"{PROBED} longer --trainer.max_epochs 3")
    assert_made_longer("longer")


def test_a_finished_run_whose_last_epoch_was_cut_trains_longer() -> None:
    """That epoch is gone on with."""
    line = PROBED.replace("--run", "--trainer.max_epochs -1 --run")
    fit(f"{line} whole --trainer.max_steps 9")
    fit(f"{line} longer --trainer.max_steps 6")
    fit(f"{line} longer --trainer.max_steps 9")
    assert_made_longer("longer")


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ({"T_max": 3, "last_epoch": 3}, "its schedule of learning rates is made for T_max 3 epochs"),
        ({"total_steps": 12, "last_epoch": 12}, "made for total_steps 12 steps"),
        ({"lr_lambdas": [None], "last_epoch": 3}, "made for a function, which may know its length"),
        ({"_schedulers": [{"last_epoch": 1}, {"T_max": 2, "last_epoch": 2}], "_milestones": [1]}, "made for T_max 3"),
        ({"T_max": 9, "last_epoch": 3}, ""),
        ({"step_size": 2, "gamma": 0.1, "last_epoch": 3}, ""),
        ({"total_iters": 2, "start_factor": 0.3, "last_epoch": 3}, ""),
    ],
)
def test_schedules_that_know_their_length_are_not_made_longer(schedule: dict[str, Any], reason: str) -> None:
    """One line with the length; warm-ups and steps know none, and others were made for more than was trained."""
    progress = {"epoch_progress": {"current": {"processed": 3}}}
    checkpoint = {"lr_schedulers": [schedule], "global_step": 12, "loops": {"fit_loop": progress}}
    before, now = ({"trainer": {"max_epochs": epochs, "max_steps": -1}} for epochs in (3, 6))
    if not reason:
        check_longer("one", before, now, checkpoint)
        return
    with pytest.raises(Refused, match=reason):
        check_longer("one", before, now, checkpoint)


@pytest.mark.parametrize(
    ("epochs", "steps", "length", "old", "new", "fits"),
    [(0, 1, 10, 2, 4, False), (1, 9, 20, 3, 4, True), (1, 9, 19, 3, 4, False), (2, 10, 20, 2, 4, True)],
)
def test_steps_of_the_epoch_under_way_are_not_counted(
    epochs: int, steps: int, length: int, old: int, new: int, fits: bool
) -> None:
    """Of 5 steps an epoch; as long as none is finished nothing is known, and a longer run is another."""
    under_way = steps - 5 * epochs
    progress = {
        "epoch_progress": {"current": {"started": epochs + bool(under_way), "processed": epochs}},
        "epoch_loop.batch_progress": {"total": {"processed": steps}, "current": {"processed": under_way}},
    }
    schedule = {"total_steps": length, "last_epoch": steps}
    checkpoint = {"lr_schedulers": [schedule], "global_step": steps, "loops": {"fit_loop": progress}}
    before, now = ({"trainer": {"max_epochs": bound, "max_steps": -1}} for bound in (old, new))
    if fits:
        check_longer("one", before, now, checkpoint)
        return
    with pytest.raises(Refused, match=f"made for total_steps {length} steps"):
        check_longer("one", before, now, checkpoint)


def test_runs_are_not_made_shorter_nor_longer_with_averages_at_their_end() -> None:
    """One line says so."""
    before, now = ({"trainer": {"max_epochs": epochs, "max_steps": -1}} for epochs in (3, 6))
    with pytest.raises(Refused, match="longer, not shorter"):
        check_longer("one", now, before, {})
    now["trainer"]["callbacks"] = [{"class_path": "lightning.pytorch.callbacks.StochasticWeightAveraging"}]  # type: ignore[assignment]
    with pytest.raises(Refused, match="StochasticWeightAveraging depends on the number of epochs"):
        check_longer("one", before, now, {})


def test_what_changes_no_result_may_change(capsys: pytest.CaptureFixture[str]) -> None:
    """Threads, a logger, more time; another network is refused, and a schedule's length with advice."""
    line = f"{FIT} --model.scheduler CosineAnnealingLR --model.scheduler.T_max 1 --trainer.max_epochs 1 --run one"
    fit(line)
    more = "--threads 2 --trainer.logger CSVLogger --trainer.logger.save_dir elsewhere --trainer.max_time 00:01:00:00"
    os.environ.pop("STRATOSCOPE_RUN", None)
    assert build(f"{line} {more}".split()).directory.finished
    for words, reason in {
        "--model.width 9": "model.init_args.width: 8 before, 9 now",
        "--trainer.max_epochs 2": "T_max 1",
    }.items():
        os.environ.pop("STRATOSCOPE_RUN", None)
        with pytest.raises(SystemExit) as ended:
            main(f"{line} {words}".split())
        assert ended.value.code == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert reason in message
    torch.set_num_threads(1)


def test_other_devices_are_free_but_not_another_number() -> None:
    """Which deals out the samples otherwise."""
    lines = ["trainer.devices: a there, b here", "data.init_args.root: a there, b here"]
    for before, now, same in (("1", [3], True), ("0,", 1, True), ("2", "1", False), ("auto", "2", False)):
        configs = [{"trainer": {"devices": devices, "num_nodes": 1}} for devices in (before, now)]
        others, _, free = sorted_out(lines, *configs)
        assert (others, free) == (([], lines) if same else (lines[:1], lines[1:])), (before, now)


@pytest.mark.usefixtures("_beside_probed")
def test_a_run_from_another_has_its_own_epochs_only() -> None:
    """In all tables; weights are those of a run that was not divided, and its record says where it came from."""
    fit(f"{PROBED} first --trainer.max_epochs 2")
    checkpoint = "runs/first/checkpoints/last.ckpt"
    fit(f"fit --ckpt_path {checkpoint} --trainer.max_epochs 3 --run more")  # it has its config
    assert not list(differences(saved("whole")["state_dict"], saved("more")["state_dict"]))
    for file in ("metrics.csv", "probes.csv", "online_probes.csv"):
        whole, more = (Path(f"runs/{name}/{file}").read_text().splitlines() for name in ("whole", "more"))
        assert more == [whole[0], *(row for row in whole if row.startswith("3"))], file
    assert record("more")["begun_from"] == {"checkpoint": checkpoint, "epochs": 2, "steps": 8}


@pytest.mark.parametrize("stop", ["", "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor train/loss "])
def test_a_run_killed_at_its_end_leaves_all_the_same(stop: str) -> None:
    """Going on writes what was missing, and takes no further step though a callback had ended the run."""
    options = "--trainer.callbacks.patience 1 --trainer.callbacks.min_delta 99 --trainer.max_epochs 9" if stop else ""
    line = f"{FIT} --trainer.max_epochs 2 {ONLINE} {stop} {options} --run one"
    assert run(line, At("on_train_end", 2)) == -signal.SIGKILL, said()
    steps = saved("one")["global_step"]
    assert load_run("runs/one").status == "stopped"
    assert not Path("runs/one/online_probes.png").exists()
    main(["resume", "runs/one"])
    assert Path("runs/one/online_probes.png").exists()
    assert saved("one")["global_step"] == steps == 8
    assert record("one")["status"] == "finished"


def test_the_row_of_the_step_of_a_signal_is_there() -> None:
    """Of a module that logs at every step."""
    line = f"{FIT.replace(MLP, f'--model {StepByStep.__module__}.StepByStep')} --trainer.log_every_n_steps 1 --run one"
    stop = At("on_train_batch_start", 0, 2, signal.SIGTERM)
    assert run(f"{line} --trainer.max_epochs 2", stop) == 128 + signal.SIGTERM, said()
    assert saved("one")["global_step"] == 3
    rows = load_run("runs/one").metrics
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(row["train/loss_step"] for row in rows)


def test_a_metric_that_keeps_all_of_an_epoch_goes_on_within_it() -> None:
    """It ends with the values of a run that was let alone; two callbacks that save under one name keep their files."""
    given = "dirpath: runs/{}/checkpoints, filename: best, monitor: test/loss"
    kept = "{{class_path: ModelCheckpoint, init_args: {{{}, mode: {}}}}}"
    model = FIT.replace(MLP, f"--model {Listed.__module__}.Listed")
    for name in ("whole", "parts"):
        Path(f"{name}.yaml").write_text(
            f"trainer: {{callbacks: [{', '.join(kept.format(given.format(name), mode) for mode in ('min', 'max'))}]}}\n"
        )
    line = f"{model} --trainer.max_epochs 2 --config"
    fit(f"{line} whole.yaml --run whole")
    stop = At("on_train_batch_start", 1, 2, signal.SIGTERM)
    assert run(f"{line} parts.yaml --run parts", stop) == 128 + signal.SIGTERM, said()
    assert saved("parts")["global_step"] == 7
    fit(f"{line} parts.yaml --run parts")
    assert_same_runs("whole", "parts")


@pytest.mark.parametrize("epochs", [-1, pytest.param(9, marks=pytest.mark.slow)])  # test_kills.py has "steps first"
def test_a_run_bounded_by_steps_goes_on_after_a_kill(epochs: int) -> None:
    """Killed in its second epoch, it ends like another that was not, with or without a bound of epochs too."""
    line = f"{FIT} --trainer.max_steps 7 --trainer.max_epochs"
    fit(f"{line} 9 --run whole")
    killed = f"{line} {epochs} --run killed"
    assert run(killed, At("on_train_batch_start", 1, 1)) == -signal.SIGKILL, said()
    fit(killed)
    assert_same_runs("whole", "killed")


def test_by_the_clock_a_place_is_kept_only_when_a_validation_is_near() -> None:
    """Not behind every step."""
    loop: Any = SimpleNamespace(trainer=SimpleNamespace(fit_loop=SimpleNamespace(_data_fetcher=None)), done=False)
    loop._should_check_val_fx = lambda _: False
    loop._should_check_val_epoch = lambda: True
    loop.trainer._val_check_time_interval = 60
    for seconds, near in ((0, False), (50, False), (59.9, True), (70, True)):
        loop.trainer._last_val_time = time.monotonic() - seconds
        assert ExactEpochLoop.follows(loop) is near


def test_handlers_of_others_languages_are_not_given_back() -> None:
    """Python cannot set them: the default is."""
    before, stop = signal.getsignal(signal.SIGUSR2), StopOnSignal()
    stop._before = {signal.SIGUSR2: None}
    try:
        stop.teardown(None, None, "fit")  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_fit_is_given_up_between_two_iterations() -> None:
    """By whoever has a reason to; nothing on the way takes that for an error of the fit."""
    asked: list[bool] = []

    def third(together: bool) -> None:
        asked.append(together)
        if len(asked) == 3:
            raise Interrupted(signal.SIGTERM)

    features, labels = torch.randn(300, 20), torch.randint(0, 5, (1, 300))
    given_up_by(third)
    try:
        with pytest.raises(Interrupted):
            fit_logistic(features, labels, 5, 1e-6, tolerance=1e-9)
    finally:
        given_up_by(None)
    assert asked == [False] * 3
    assert not issubclass(Interrupted, Exception)
