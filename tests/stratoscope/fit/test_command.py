"""Tests of stratoscope/fit/command.py: the commands as a user types them, in one process."""

import csv
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.commands.table import main
from stratoscope.fit.command import build
from stratoscope.run.directory import new_name

SMALL = "--model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.enable_progress_bar false"
FIT = f"fit {SMALL}"
ONE_EPOCH = f"{FIT} --trainer.max_epochs 1"
PROBED = f"{FIT} --trainer.callbacks LinearProbes --trainer.callbacks.taps *relu*"
LOOSE = f"{PROBED} --trainer.callbacks.tolerance 0.01 --trainer.callbacks.train_samples 200"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs with a run of one epoch, `one`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STRATOSCOPE_RUN", "")  # which every run sets: put back in the end
        main(f"{ONE_EPOCH} --run one".split())
    return folder / "runs"


@pytest.fixture
def one(trained: Path, _in_empty_folder: None) -> None:
    """A copy of it in the working directory."""
    shutil.copytree(trained, "runs")


def table(file: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with Path(file).open(newline="") as text:
        return list(csv.DictReader(text))


def weights(run: str) -> dict[str, torch.Tensor]:
    """The weights a run ended with."""
    state: dict[str, torch.Tensor] = torch.load(f"runs/{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return state


BAD_INPUT = [
    ("", ["a command is missing", "fit, validate, test, predict"]),
    ("fitt", ["no command fitt", "did you mean fit?"]),
    ("fit", ["--model is missing", "--model SmallAlexNet"]),
    ("fit --model MLP", ["--data is missing", "--data Digits"]),
    ("fit --model SmalAlexNet --data Digits", ["--model: no class SmalAlexNet", "did you mean SmallAlexNet?"]),
    ("fit --model MLP --data Digts", ["--data: no class Digts", "did you mean Digits?"]),
    ("fit --model nosuch.Net --data Digits", ["--model: no class nosuch.Net"]),
    (f"{FIT} --foo 3", ["unknown option --foo"]),
    (f"{FIT} --model.width wide", ["--model.width", "expected a whole number", "got wide"]),
    (f"{FIT} --model.width 0", ["the other sizes 1 or more", "width 0"]),
    ("list networks", ["list: too many words: networks"]),
    ("fit --model Digits --data Digits", ["--model: no class Digits"]),
    (f"{FIT} --data.augmentation RandomCrop", ["--data.augmentation RandomCrop", "leaves images of that size"]),
    (f"{FIT} --data.augmentation RandmFlip", ["no class RandmFlip", "did you mean RandomFlip?"]),
    (f"{FIT} --data.normalisation whole", ["--data.normalisation", "per_image", "got whole"]),
    (f"{FIT} --model.optimizer Adm", ["--model.optimizer: no class Adm", "did you mean Adam?"]),
    (f"{FIT} --trainer.max_epochs many", ["--trainer.max_epochs", "expected a whole number or null", "got many"]),
    (f"{FIT} --trainer.max_epochs 0", ["--trainer.max_epochs must be 1 or more", "got 0"]),
    (f"{FIT} --trainer.precision 12", ["--trainer.precision", "bf16-mixed", "got 12"]),
    (f"{FIT} --trainer.accelerator gpu --trainer.devices 64", ["gpu"]),
    (f"{FIT} --trainer.accelerator tpuu", ["--trainer.accelerator", "tpuu", "cpu"]),
    (f"{FIT} --trainer.logger WandbLogge", ["--trainer.logger: no class WandbLogge", "did you mean WandbLogger?"]),
    (f"{FIT} --seed_everything soon", ["--seed_everything", "got soon"]),
    (f"{FIT} --seed_everything true", ["--seed_everything must be a whole number", "got True"]),
    (f"{FIT} --data.batch_size 0", ["--data.batch_size", "must be 1 or more, got 0"]),
    (
        f"{FIT} --data.batch_size 7 --trainer.devices 2",
        ["--data.batch_size", "multiple of the number of devices (2), got 7"],
    ),
    (f"{FIT} --data.corruption RandomLabel", ["--data.corruption: no class RandomLabel", "did you mean RandomLabels?"]),
    (f"{FIT} --data.corruption PartialLabels", ["--data.corruption.p is missing: PartialLabels needs it"]),
    (
        f"{FIT} --trainer.callbacks LinearProbe",
        ["--trainer.callbacks: no class LinearProbe", "did you mean LinearProbes?"],
    ),
    (f"{FIT} --run ../escape", ["--run must be letters", "got '../escape'"]),
    (f"{FIT} --run=", ["--run must be letters"]),
    (f"{FIT} extra", ["unknown option extra"]),
    (f"{FIT} --model.inputs 10", ["--model: MLP takes no images of (3, 28, 28)"]),
    (f"{FIT} --model.optimizer SGD --model.optimizer.lr -1", ["Invalid learning rate: -1"]),
    (f"{FIT} --trainer.inference_mode maybe", ["--trainer.inference_mode", "got maybe"]),
    (f"{PROBED} --trainer.max_epochs 2 --trainer.callbacks.epochs [50]", ["none of [50] comes in 2 epochs"]),
    ("fit --model MLP --data nope.yaml", ["no file nope.yaml"]),
    (f"{FIT} --ckpt_path nothing.ckpt", ["--ckpt_path: no file nothing.ckpt"]),
    (f"{FIT} --config nothing.yaml", ["--config: no file nothing.yaml"]),
    ("--print_completion basch", ["--print_completion: expected bash", "got basch"]),
]
# much like one of those, or tested where it is found out
LIKEWISE = [
    (f"{PROBED} --trainer.callbacks.train_samples 2000", ["2000 training samples from 1437"]),
    (f"{FIT} --data.corruption AsymmetricLabels --data.corruption.p 1", ["AsymmetricLabels is for CIFAR10"]),
    (f"{FIT} --model.initialisation he", ["initialisation must be as_built or one of he_normal", "got he"]),
    (f"{FIT} --data.corruption RandomSubset --data.corruption.n 5000", ["subset of 5000", "from 1437"]),
    (
        f"{FIT} --data.corruption PartialLabels --data.corruption.p 1.5",
        ["--data.corruption.p", "must be in [0, 1], got 1.5"],
    ),
    (
        "fit --model MLP --data CIFAR10 --data.root nowhere",
        ["no CIFAR-10 in nowhere", "c58f30108f718f92721af3b95e74349a"],
    ),
    (f"{PROBED} --trainer.callbacks.ridge 0", ["--trainer.callbacks.ridge", "must be above 0, got 0.0"]),
    (f"{FIT} --runs /dev/null", ["cannot write the run directory /dev/null/"]),
    (f"{FIT} --model.widht 3", ["unknown option --model.widht", "did you mean --model.width?"]),
    (f"{FIT} --model.foo 3", ["unknown option --model.foo", "MLP takes depth, width"]),
    (f"{PROBED} --trainer.callbacks.held_out 5000", ["cannot take 5000 held-out samples from 1437"]),
    ("fit --model SmallAlexNet --data Shapes", ["takes no images of (3, 32, 32); by default it is for (3, 28, 28)"]),
    (f"{FIT} --data.augmentation RandomZoom --data.augmentation.smallest 40", ["--data.augmentation RandomZoom", "40"]),
    (
        "fit --model KeskarF1 --data Digits --data.channels 1 --data.corruption RandomSubset --data.corruption.n 129",
        ["--data.batch_size 128 leaves one of 129 samples"],
    ),
    (
        f"{FIT} --model.chanels_last true",
        ["unknown option --model.chanels_last", "mean --model.channels_last?"],
    ),
    (f"{FIT} --data.corruption+ RandmLabels", ["no class RandmLabels", "did you mean RandomLabels?"]),
    (f"{FIT} --data.corruption ConfusedLabels --data.corruption.matrix [[1]]", ["must have 10 rows", "got 1"]),
    (f"{FIT} --data.augmentation RandomCrop --data.augmentation.size 40", ["crop of 40 pixels does not fit", "28"]),
    (f"{FIT} --trainer.max_epoch 3", ["unknown option --trainer.max_epoch", "did you mean --trainer.max_epochs?"]),
    (f"{FIT} --trainer.devices 99", ["--trainer.devices is 99 processes", "CPU cores"]),
    (f"{FIT} --threads 0", ["--threads must be 1 or more, got 0"]),
    (f"{FIT} --trainer.devices 0", ["--trainer.devices must be 1 or more, got 0"]),
    (f"{FIT} --data.batch_size 1.5", ["--data.batch_size: expected a whole number, got 1.5"]),
    (f"{FIT} --data.bach_size 4", ["unknown option --data.bach_size", "did you mean --data.batch_size?"]),
    (
        f"{PROBED} --trainer.callbacks.rdge 1",
        ["unknown option --trainer.callbacks.rdge", "did you mean --trainer.callbacks.ridge?"],
    ),
    (f"{PROBED} --trainer.callbacks.taps=rellu1", ["no tap matches 'rellu1'", "network.relu1"]),
    (f"{FIT} --model.classes 5", ["--model.classes: the network has 5 logits, the data 10 classes"]),
    (f"{FIT} --trainer.accumulate_grad_batches 0", ["--trainer.accumulate_grad_batches must be 1 or more, got 0"]),
    (f"{FIT} --trainer.limit_train_batches 0", ["--trainer.limit_train_batches is 0"]),
    (f"{FIT} --trainer.max_epochs null", ["--trainer.max_epochs is null"]),
    ("fit --config configs/quickstart.yaml --model.wdth 8", ["--model.wdth", "did you mean --model.width?"]),
]
CASES = [*BAD_INPUT, *(pytest.param(*case, marks=pytest.mark.slow) for case in LIKEWISE)]
IDS = [line.removeprefix(SMALL)[-60:] for line, _ in [*BAD_INPUT, *LIKEWISE]]


@pytest.mark.parametrize(("line", "parts"), CASES, ids=IDS)
def test_bad_input_is_answered_in_one_line(line: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, where, and what would be right; exit code 2; nothing on disk; no traceback."""
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    answer = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert len(answer) == 1
    assert answer[0].startswith("stratoscope: ")
    assert [part for part in parts if part not in answer[0]] == []
    assert os.listdir() == []


BAD_YAML = {
    "unknown key in a class": (
        "model: {class_path: MLP, init_args: {widht: 3}}\ndata: Digits\n",
        "did you mean width?",
    ),
    "unknown key": ("model: MLP\ndata: Digits\ntrainr: {max_epochs: 3}\n", "did you mean trainer.max_epochs?"),
    "unclosed bracket": ("model: [MLP\n", "is no valid YAML"),
    "tab": ("model: MLP\ntrainer:\n\tmax_epochs: 3\n", "is no valid YAML"),
    "empty": ("", "it is empty"),
    "duplicate key": ("model: MLP\ndata: Digits\nmodel: SmallAlexNet\n", "duplicate key model, in lines 1 and 3"),
    "duplicate key deep down": (
        "model: MLP\ndata: Digits\ntrainer:\n  max_epochs: 3\n  max_epochs: 4\n",
        "duplicate key max_epochs, in lines 4 and 5",
    ),
    "wrong type": ("model: MLP\ndata: Digits\ntrainer: {max_epochs: many}\n", "max_epochs: expected a whole number"),
    "out of range": (
        "{model: MLP, data: {class_path: Digits, init_args: "
        "{corruption: {class_path: PartialLabels, init_args: {p: 7}}}}}",
        "label noise p must be in [0, 1], got 7",
    ),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml_is_answered_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for config files."""
    text, part = BAD_YAML[name]
    Path("bad.yaml").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "bad.yaml"])
    answer = capsys.readouterr().err.strip().splitlines()
    assert (stop.value.code, len(answer)) == (2, 1)
    assert part in answer[0]
    assert os.listdir() == ["bad.yaml"]


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(50)])
def test_a_damaged_checkpoint_is_named(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty, foreign or truncated file is refused by name."""
    Path("x.ckpt").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["validate", "--ckpt_path", "x.ckpt"])
    answer = capsys.readouterr().err.strip().splitlines()
    assert (stop.value.code, len(answer)) == (2, 1)
    assert "--ckpt_path: x.ckpt is damaged or no checkpoint" in answer[0]
    assert os.listdir() == ["x.ckpt"]


def test_debug_shows_the_traceback() -> None:
    """With --debug the refusal is raised, its cause with it."""
    with pytest.raises(Exception, match="batch_size must be 1 or more") as refusal:
        main(f"{FIT} --data.batch_size 0 --debug".split())
    assert refusal.value.__cause__ is not None


def test_help_comes_from_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    """Every argument of a data set is explained."""
    with pytest.raises(SystemExit):
        main(["fit", "--data.help", "CIFAR10"])
    assert "centre crop" in " ".join(capsys.readouterr().out.split())


def test_printed_config_can_be_fed_back(capsys: pytest.CaptureFixture[str]) -> None:
    """--print_config of a printed config prints it again, to the letter; configs compose left to right."""
    Path("data.yaml").write_text("class_path: Digits\ninit_args: {batch_size: 32}\n")
    Path("more.yaml").write_text("trainer: {max_epochs: 7}\n")
    words = [
        "fit",
        "--config",
        "configs/quickstart.yaml",
        "--config",
        "more.yaml",
        "--data",
        "data.yaml",
        "--print_config",
    ]
    with pytest.raises(SystemExit):
        main(words)
    first = capsys.readouterr().out
    Path("first.yaml").write_text(first)
    with pytest.raises(SystemExit):
        main(["fit", "--config", "first.yaml", "--print_config"])
    assert capsys.readouterr().out == first
    config = yaml.safe_load(first)
    assert (config["trainer"]["max_epochs"], config["data"]["init_args"]["batch_size"]) == (7, 32)
    assert config["data"]["class_path"] == "stratoscope.datamodules.Digits"


def test_a_run_leaves_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Config, metrics, table, picture, checkpoint and record; the same numbers in the terminal."""
    main(f"{LOOSE} --data.corruption RandomLabels --trainer.max_epochs 2 --run one".split())
    left = {str(path.relative_to("runs/one")) for path in Path("runs/one").rglob("*") if path.is_file()}
    checkpoints = {f"checkpoints/{name}.ckpt{digest}" for name in ("last", "previous") for digest in ("", ".sha256")}
    pictures = {"separability.png", "separability.svg"}
    assert left == {"config.yaml", "metrics.csv", "probes.csv", "run.json", *pictures, *checkpoints}
    record = json.loads(Path("runs/one/run.json").read_text())
    assert record["status"] == "finished"
    assert {"torch", "lightning", "stratoscope"} <= record["versions"].keys()
    probes = table("runs/one/probes.csv")
    assert len(probes) == 3 * 2 * 2  # epochs, label kinds, sets
    metrics = table("runs/one/metrics.csv")
    assert [float(row["epoch"]) for row in metrics] == [0, 1, 2]
    assert {"train/loss", "train/accuracy", "train/accuracy_corrupted", "train/accuracy_untouched"} <= metrics[2].keys()
    for row in probes:
        logged = metrics[int(row["epoch"])][f"probe/{row['labels']}/{row['split']}/{row['layer']}"]
        assert float(logged) == float(row["accuracy"])
    printed = capsys.readouterr().out
    shown = [
        row for row in probes if (row["labels"], row["split"]) in {("true_label", "test"), ("given_label", "train")}
    ]
    assert all(f"{100 * float(row['accuracy']):.1f}" in printed for row in shown)
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in probes)
    assert "runs/one/separability.png" in printed


@pytest.mark.usefixtures("one")
def test_a_name_means_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Finished: said, exit 0, unchanged; another config: exit 2 with the difference; without a name: a new run."""
    before = {path: path.stat().st_mtime_ns for path in Path("runs/one").rglob("*")}
    main(f"{ONE_EPOCH} --run one".split())
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(f"{ONE_EPOCH} --run one --model.optimizer.lr 0.5".split())
    assert stop.value.code == 2
    assert "lr: 0.01 before, 0.5 now" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs/one").rglob("*")}
    main(ONE_EPOCH.split())
    assert len(list(Path("runs").iterdir())) == 2


@pytest.mark.usefixtures("one")
def test_a_name_never_hides_another_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Another command or another checkpoint under a finished run's name is refused, not called finished."""
    Path("other.ckpt").write_bytes(Path("runs/one/checkpoints/last.ckpt").read_bytes())
    main("validate --ckpt_path runs/one/checkpoints/last.ckpt --run checked".split())
    for line, part in (
        ("validate --ckpt_path runs/one/checkpoints/last.ckpt --run one", 'command: "fit" before, "validate" now'),
        ("validate --ckpt_path other.ckpt --run checked", "ckpt_path"),
        ("fit --ckpt_path other.ckpt --run more", "--trainer.max_epochs is 1, but the checkpoint has 1 epochs"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(line.split())
        assert stop.value.code == 2
        assert part in capsys.readouterr().err
    assert not Path("runs/more").exists()


@pytest.mark.parametrize("file", ["metrics.csv", "run.json", "config.yaml"])
def test_a_folder_that_is_no_run_is_left_alone(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of other files, or with a damaged record, is refused by name and not touched."""
    Path("runs/one").mkdir(parents=True)
    Path(f"runs/one/{file}").write_text("a,b")
    with pytest.raises(SystemExit) as stop:
        main(f"{FIT} --run one".split())
    assert stop.value.code == 2
    assert "--run: runs/one is no run" in capsys.readouterr().err
    assert [path.name for path in Path("runs/one").iterdir()] == [file]


def test_options_win_over_configs_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    """An option before --config is not overwritten by the file."""
    with pytest.raises(SystemExit):
        main("fit --trainer.max_epochs 3 --data.batch_size 7 --config configs/quickstart.yaml --print_config".split())
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["trainer"]["max_epochs"], config["data"]["init_args"]["batch_size"]) == (3, 7)


class Interruption(Callback):
    """Stops a run in the middle of an epoch, as a crash would."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Crash in the second epoch."""
        if trainer.current_epoch == 1 and batch_idx == 4:
            raise RuntimeError("crash")


@pytest.mark.usefixtures("no_pictures")
def test_an_unfinished_run_goes_on() -> None:
    """After a crash the same command ends with the weights, metrics and probes of an uninterrupted run, bit for bit."""
    line = f"{LOOSE} --trainer.max_epochs 2 --data.corruption RandomLabels"
    main(f"{line} --run whole".split())
    command = build(f"{line} --run broken".split())
    command.trainer.callbacks.insert(0, Interruption())  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="crash"):
        command.start()
    assert json.loads(Path("runs/broken/run.json").read_text())["status"] == "failed"
    main(f"{line} --run broken".split())
    whole, broken = weights("whole"), weights("broken")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    for file in ("probes.csv", "metrics.csv"):
        assert Path(f"runs/whole/{file}").read_text() == Path(f"runs/broken/{file}").read_text()
    assert len(json.loads(Path("runs/broken/run.json").read_text())["commands"]) == 2


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """Validate probes a stored network with its own config; test and predict need nothing else either."""
    main(f"{LOOSE} --trainer.callbacks.epochs [2] --trainer.max_epochs 2 --model.depth 2 --run one".split())
    checkpoint = "runs/one/checkpoints/last.ckpt"
    main(["validate", "--ckpt_path", checkpoint, "--run", "checked"])
    last = [row for row in table("runs/one/probes.csv") if row["epoch"] == "2"]
    again = table("runs/checked/probes.csv")
    counted = [[(row["layer"], row["split"], row["correct"]) for row in rows] for rows in (last, again)]
    assert counted[0] == counted[1]
    main(["test", "--ckpt_path", checkpoint, "--run", "tested"])
    accuracy = float(table("runs/one/metrics.csv")[-1]["test/accuracy"])
    assert float(table("runs/tested/metrics.csv")[-1]["test/accuracy"]) == accuracy
    main(["predict", "--ckpt_path", checkpoint, "--run", "predicted"])
    predictions = table("runs/predicted/predictions.csv")
    assert [int(row["index"]) for row in predictions] == list(range(360))
    right = sum(row["predicted_label"] == row["true_label"] for row in predictions)
    assert right / 360 == pytest.approx(accuracy)
    capsys.readouterr()


def test_networks_with_a_schedule_of_steps_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The config of a run, and of its checkpoint, holds the schedule: the same command goes on, and it validates."""
    small = "--data Shapes --data.size 8 --data.train_size 40 --data.test_size 20 --trainer.accelerator cpu"
    words = f"fit --model WideResNet --model.depth 10 {small} --trainer.max_epochs 1 --run steps".split()
    main(words)
    main(words)
    assert "already finished" in capsys.readouterr().out
    main("validate --ckpt_path runs/steps/checkpoints/last.ckpt --run validated".split())
    assert "test: loss" in capsys.readouterr().out


@pytest.mark.usefixtures("one")
def test_metrics_are_said_by_set(capsys: pytest.CaptureFixture[str]) -> None:
    """`test` says loss and accuracy of every set in one line each."""
    main("test --ckpt_path runs/one/checkpoints/last.ckpt --run two".split())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test: ")]
    assert len(lines) == 1
    assert "loss" in lines[0]
    assert "accuracy" in lines[0]


@pytest.mark.usefixtures("one")
def test_options_beside_a_checkpoint_are_never_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """They win (trainer, data, probes) or are refused (another architecture, another optimiser for fit)."""
    checkpoint = "runs/one/checkpoints/last.ckpt"
    main([
        "fit",
        "--ckpt_path",
        checkpoint,
        "--trainer.max_epochs",
        "3",
        "--data.corruption",
        "RandomLabels",
        "--run",
        "on",
    ])
    config = yaml.safe_load(Path("runs/on/config.yaml").read_text())
    assert (config["trainer"]["max_epochs"], config["model"]["init_args"]["width"]) == (3, 8)
    assert [float(row["epoch"]) for row in table("runs/on/metrics.csv")] == [2, 3]
    assert "train/accuracy_corrupted" in table("runs/on/metrics.csv")[0]
    for command, option, part in (
        ("validate", "--model.width=16", "weights do not fit the model"),
        ("fit", "--model.width=16", "width: 8 before, 16 now"),
        ("fit", "--model.optimizer.lr=0.5", "lr: 0.01 before, 0.5 now"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([command, "--ckpt_path", checkpoint, option, "--run", "never"])
        assert stop.value.code == 2
        assert part in capsys.readouterr().err
    assert not Path("runs/never").exists()


@pytest.mark.usefixtures("one")
def test_what_a_killed_writer_left_is_cleared_away() -> None:
    """When the run goes on."""
    record = json.loads(Path("runs/one/run.json").read_text())
    Path("runs/one/run.json").write_text(json.dumps({**record, "status": "running"}))
    litter = Path("runs/one/checkpoints/.last.ckpt.part")
    litter.write_bytes(b"half")
    main(f"{ONE_EPOCH} --run one".split())
    assert not litter.exists()


@pytest.mark.usefixtures("one")
def test_a_checkpoint_of_a_newer_release_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It may hold what this one would leave out without a word."""
    checkpoint = torch.load("runs/one/checkpoints/last.ckpt", weights_only=True)
    torch.save({**checkpoint, "stratoscope_format": 2}, "newer.ckpt")
    with pytest.raises(SystemExit) as stop:
        main(["validate", "--ckpt_path", "newer.ckpt"])
    assert stop.value.code == 2
    assert "newer.ckpt is of a newer stratoscope (format 2; this one reads 1): update" in capsys.readouterr().err


def test_checkpoints_of_other_trainers_are_refused_with_what_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix before all names, a checkpoint of another kind, a bare state dict: the names that are there."""
    weights = build(f"{FIT} --run built".split()).model.state_dict()
    prefixed = {f"module.{name}": value for name, value in weights.items()}
    for content, parts in (
        (
            {"state_dict": prefixed},
            ["module.network.fc1.weight is (8, 2352) in the checkpoint, missing in the model", "only a prefix differs"],
        ),
        ({"model": weights, "epoch": 3}, ["it has no state_dict, its keys are model, epoch", "callbacks Pretrained"]),
        (weights, ["its keys are network.fc1.weight, network.fc1.bias, network.logits.weight, network.logits.bias"]),
        ([1], ["it has no state_dict, it holds no mapping"]),
    ):
        torch.save(content, "theirs.ckpt")
        with pytest.raises(SystemExit) as stop:
            main([*FIT.replace("fit", "validate", 1).split(), "--ckpt_path", "theirs.ckpt"])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert all(part in error for part in parts), error
        assert not Path("runs").exists()


def test_names_of_runs_sort_by_time() -> None:
    """In UTC, which has no hour twice; two of the same second differ."""
    before = datetime.now(UTC)
    names = [new_name(["fit"]) for _ in range(50)]
    after = datetime.now(UTC)
    assert len(set(names)) == 50
    assert f"{before:%Y-%m-%d_%H-%M-%S}" <= names[0][:19] <= names[-1][:19] <= f"{after:%Y-%m-%d_%H-%M-%S}"


@pytest.mark.usefixtures("one")
def test_what_has_changed_since_a_checkpoint_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Options win over the config in it, and which ones is no secret."""
    main("fit --ckpt_path runs/one/checkpoints/last.ckpt --trainer.max_epochs 2 --run two".split())
    assert "other than when it was saved: trainer.max_epochs: 1 before, 2 now" in capsys.readouterr().out


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m stratoscope` in a process of its own."""
    command = [sys.executable, "-m", "stratoscope", *words]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=600, check=False)


@pytest.mark.slow
def test_several_processes_give_the_table_of_one() -> None:
    """The probe table of a stored network is the same to the byte on one, two and three, at equal thread counts."""
    main(f"{PROBED} --trainer.max_epochs 1 --data.corruption RandomLabels --run one".split())
    for count in (1, 2, 3):
        options = ["--ckpt_path", "runs/one/checkpoints/last.ckpt", "--data.batch_size", "120", "--run", str(count)]
        if count > 1:
            options += ["--trainer.devices", str(count), "--trainer.strategy", "ddp"]
        done = run("validate", *options)
        assert done.returncode == 0, done.stderr
    alone = table("runs/1/metrics.csv")[0]
    for count in (2, 3):
        assert Path("runs/1/probes.csv").read_text() == Path(f"runs/{count}/probes.csv").read_text()
        together = table(f"runs/{count}/metrics.csv")[0]
        assert float(alone["test/accuracy"]) == float(together["test/accuracy"])
        assert float(alone["test/loss"]) == pytest.approx(float(together["test/loss"]), rel=1e-6)


@pytest.mark.slow
def test_quickstart_memorises_random_labels() -> None:
    """The README's first command: ends with the table and the picture; the random labels are memorised."""
    done = run("fit", "--config", "configs/quickstart.yaml", "--run", "quick")
    assert done.returncode == 0, done.stderr
    assert "Linear probe accuracy on true labels" in done.stdout
    assert done.stdout.strip().endswith("separability.png")
    assert Path(done.stdout.split()[-1]).is_file()
    assert float(table("runs/quick/metrics.csv")[-1]["train/accuracy"]) > 0.9
    assert all(row["converged"] == "True" and float(row["gap"]) <= 1e-6 for row in table("runs/quick/probes.csv"))
