"""Tests of the experiments that come with the package, and of what `stratoscope reproduce` is told."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torchvision import datasets, models

from stratoscope.commands.table import main
from stratoscope.datamodules.cifar10 import NAMES
from stratoscope.experiments.experiment import SEED
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.experiments.grid import PlannedRun, planned_runs, run_name, selected
from stratoscope.fit.command import build
from stratoscope.run.directory import NAME
from tests.datamodules.small_cifar10 import (
    TRAIN_FILES,
    images_and_labels,
    md5,
    old_array,
    old_list,
    old_pickle,
    old_str,
)
from tests.datamodules.test_mnist import packed
from tests.small_experiments import TINY

SHIPPED = [*experiment_names(), str(TINY)]
SCALES = [(name, scale) for name in SHIPPED for scale in ("full", *read_experiment(name).scales)]
FRACTION = re.compile(r"\d+\.\d+")
every_experiment = pytest.mark.parametrize("name", SHIPPED)
every_scale = pytest.mark.parametrize(("name", "scale"), SCALES)


def plan(name: str, scale: str) -> list[PlannedRun]:
    """The plan of an experiment in the folder `runs`."""
    return planned_runs(read_experiment(name), scale, "runs")


def telling(runs: list[PlannedRun], all_pairs: bool) -> list[PlannedRun]:
    """A few runs that between them have every value of every option, and those of networks with every network.

    Of values that differ in fractions only, such as 0.1 and 0.9, one stands for all.

    Args:
        runs: All runs.
        all_pairs: Whether they shall have every set of options instead; seeds and references aside.
    """
    parts: list[set[str]] = []
    for run in runs:
        options = {name: value for name, value in run.options.items() if name != "seed_everything"}
        text = json.dumps(options).replace(str(run.folder), "")
        for need in run.needs:
            text = text.replace(need, "RUN")
        pairs = {
            FRACTION.sub("0.5", json.dumps([options["model"] if name.startswith("model") else "", name, value]))
            for name, value in json.loads(text).items()
        }
        parts.append({text} if all_pairs else pairs)
    missing, chosen = set[str]().union(*parts), []
    while missing:
        most = max(range(len(runs)), key=lambda number: len(parts[number] & missing))
        missing -= parts[most]
        chosen.append(runs[most])
    return chosen


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The whole config of a command line, as the command line understands it."""
    if "--ckpt_path" in words:  # of a run that is not there yet
        at = words.index("--ckpt_path")
        words = [*words[:at], *words[at + 2 :]]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--print_config"])
    out, err = capsys.readouterr()
    assert not stop.value.code, err
    config: dict[str, Any] = yaml.load(out, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return config


@every_scale
def test_every_experiment_has_a_plan(name: str, scale: str) -> None:
    """Runs have names of their own that are good for directories, and those that others start from come first."""
    experiment = read_experiment(name)
    runs = planned_runs(experiment, scale, "runs")
    names = [run.name for run in runs]
    assert names
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(one) for one in names)
    for number, run in enumerate(runs):
        assert all(need in names[:number] for need in run.needs)
        assert list(run.labels) == list(experiment.axes)


@every_experiment
def test_every_command_line_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line knows every option and every kind of value in the plans of all scales, and gives it back."""
    runs = [run for scale in ("full", *read_experiment(name).scales) for run in plan(name, scale)]
    for run in telling(runs, all_pairs=False):
        assert_understood(run, capsys)


@pytest.mark.slow
@every_scale
def test_every_single_command_line_is_understood(name: str, scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same of every run, seeds aside."""
    for run in telling(plan(name, scale), all_pairs=True):
        assert_understood(run, capsys)


def assert_understood(run: PlannedRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that the parsed config has the run's name, its numbers and its classes."""
    config = printed(run.words(), capsys)
    assert (config["runs"], config["run"]) == (str(run.folder), run.name)
    for option, value in run.options.items():
        if option == "ckpt_path":
            continue
        part, *keys = option.split(".")
        found = config[part]
        for at, key in enumerate(keys):
            found = found[key] if part == "trainer" else found["init_args"][key]
            part = "" if at == 0 else part
        assert_means(found, value)


def assert_means(found: Any, value: Any) -> None:
    """Check that a parsed value is the one written, with the long name of a class for its short one."""
    if isinstance(value, list):
        found = found if isinstance(found, list) else [found]
        assert len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            assert_means(one, other)
    elif isinstance(value, dict) and "class_path" in value:
        assert_means(found, value["class_path"])
        for key, one in value.get("init_args", {}).items():
            assert_means(found["init_args"][key], one)
    elif isinstance(found, dict) and "class_path" in found:
        assert found["class_path"].rsplit(".", 1)[-1] == str(value).rsplit(".", 1)[-1]
    else:
        assert found == value


@every_experiment
def test_every_claim_and_every_published_number_is_about_runs_in_the_plan(name: str) -> None:
    """At full scale each has runs, and a published number is about one group of repetitions."""
    experiment = read_experiment(name)
    runs = plan(name, "full")
    for claim in experiment.claims:
        for where in (claim.of, claim.minus or {}, claim.over or {}):
            assert any(selected(run.labels, where) for run in runs), claim.text
    for number in experiment.published:
        for where in (number.of, number.over or number.of):
            assert len({run.cell for run in runs if selected(run.labels, where)}) == 1, number


PER_FILE = 2000


def parts_of(data: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.uint8], list[bytes]]]:
    """Images as rows, and pickled labels, file by file."""
    images, labels = data
    for start in range(0, len(images), PER_FILE):
        rows = images[start : start + PER_FILE].reshape(-1, 3072)
        yield rows, [bytes([ord("K"), label]) for label in labels[start : start + PER_FILE]]


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A CIFAR-10 of 10,000 training and 2,000 test images of noise, in the original format."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    files = [*parts_of(images_and_labels(0, 5 * PER_FILE)), *parts_of(images_and_labels(1, PER_FILE))]
    for name, (rows, labels) in zip([*TRAIN_FILES, "test_batch"], files, strict=True):
        (folder / name).write_bytes(old_pickle(labels=old_list(labels), data=old_array(rows)))
    (folder / "batches.meta").write_bytes(old_pickle(label_names=old_list([old_str(name) for name in NAMES])))
    sums = [[name, md5(folder / name)] for name in [*TRAIN_FILES, "test_batch"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.CIFAR10, "train_list", sums[:5])
        patch.setattr(datasets.CIFAR10, "test_list", sums[5:])
        meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(folder / "batches.meta")}
        patch.setattr(datasets.CIFAR10, "meta", meta)
        yield root


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has nothing that fits fc.weight")  # ten classes
@pytest.mark.parametrize("name", experiment_names())
def test_every_run_can_begin(name: str, cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, network, optimiser, callbacks and trainer of every run are built and fit each other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    packed(tmp_path / "mnist", {"train": 10_000, "t10k": 100}, monkeypatch)  # as many as probes ask for
    roots = {"CIFAR10": [f"--data.root={cifar10}"], "MNIST": [f"--data.root={tmp_path / 'mnist'}"], "Digits": []}
    if name == "alain2016/resnet50":
        weights = tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"  # torchvision's default ones
        weights.parent.mkdir(parents=True)
        torch.save(models.resnet50().state_dict(), weights)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scale in ("full", *read_experiment(name).scales):
        for run in telling(plan(name, scale), all_pairs=False):
            if not run.needs:
                build(run.words("--threads", "1", *roots[run.options["data"]]))


def test_names_say_what_differs() -> None:
    """A run is named after its labels, in letters that a directory may have."""
    assert run_name({"network": "MLP 1x512", "n": 100, SEED: 0}) == "MLP-1x512__100__0"
    assert run_name({"p": 0.5, "what": "-%-"}) == "0.5__x"
