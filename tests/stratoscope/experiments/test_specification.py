"""Tests of stratoscope/experiments/specification.py, and of the experiments that come with the package."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torchvision import datasets, models

from stratoscope.cli import build, main
from stratoscope.datamodules.cifar10 import NAMES
from stratoscope.experiments.grid import PlannedRun, planned_runs, run_name, selected
from stratoscope.experiments.reproduce import reproduce
from stratoscope.experiments.specification import SEED, Experiment, experiment_names, read_experiment
from stratoscope.refusal import Refused
from stratoscope.run_directory import NAME
from tests.datamodules.test_cifar10 import TRAIN_FILES, images_and_labels, md5, old_array, old_list, old_pickle, old_str
from tests.datamodules.test_mnist import packed
from tests.small_experiments import TINY, content, written

SHIPPED = [*experiment_names(), str(TINY)]
SCALES = [(name, scale) for name in SHIPPED for scale in ("full", *read_experiment(name).scales)]
every_experiment = pytest.mark.parametrize("name", SHIPPED)
every_scale = pytest.mark.parametrize(("name", "scale"), SCALES)


def plan(name: str, scale: str) -> list[PlannedRun]:
    """The plan of an experiment in the folder `runs`."""
    return planned_runs(read_experiment(name), scale, "runs")


def telling(runs: list[PlannedRun], all_pairs: bool) -> list[PlannedRun]:
    """Runs that between them have every value of every option, and those of networks with every network.

    Args:
        runs: All runs.
        all_pairs: Whether they shall have every set of options instead; seeds and references aside.
    """
    seen: set[str] = set()
    chosen = []
    for run in runs:
        options = {name: value for name, value in run.options.items() if name != "seed_everything"}
        text = json.dumps(options).replace(str(run.folder), "")
        for need in run.needs:
            text = text.replace(need, "RUN")
        pairs = [
            json.dumps([options["model"] if name.startswith("model") else "", name, value])
            for name, value in json.loads(text).items()
        ]
        parts = {text} if all_pairs else set(pairs)
        if parts - seen:
            seen |= parts
            chosen.append(run)
    return chosen


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The whole config of a command line, as the command line understands it."""
    with pytest.raises(SystemExit) as stop:
        main([*words, "--print_config"])
    out, err = capsys.readouterr()
    assert not stop.value.code, err
    config: dict[str, Any] = yaml.safe_load(out)
    return config


@every_scale
def test_every_experiment_has_a_plan(name: str, scale: str) -> None:
    """Runs have names of their own that are good for directories, and those that others start from come first."""
    runs = plan(name, scale)
    names = [run.name for run in runs]
    assert names
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(one) for one in names)
    for number, run in enumerate(runs):
        assert all(need in names[:number] for need in run.needs)
        assert list(run.labels) == list(read_experiment(name).axes)


@every_experiment
def test_every_command_line_is_understood(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line knows every option and every value in the plans of all scales, and gives it back."""
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


def test_the_list_names_every_experiment_with_its_scales(capsys: pytest.CaptureFixture[str]) -> None:
    """`reproduce` without a name."""
    assert reproduce([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == experiment_names()
    for line, name in zip(lines, experiment_names(), strict=True):
        assert line.endswith(f"(scales: {', '.join(['full', *read_experiment(name).scales])})")


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


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """What is in tiny.yaml, with one value changed, added, or (None) taken away."""
    whole = content(yaml.safe_load(TINY.read_text()))
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return whole


def read(folder: Path, whole: Any) -> Experiment:
    """Write an experiment and read it, with its plans."""
    experiment = read_experiment(str(written(folder, {}, **whole)))
    for scale in ("full", *experiment.scales):
        planned_runs(experiment, scale, "runs")
    return experiment


WRONG = {
    "misspelt key": (("clams",), [], "no key clams; did you mean claims?"),
    "misspelt key of a quantity": (
        ("quantities", "test error", "percnt"),
        True,
        "test error: no key percnt; did you mean",
    ),
    "misspelt key of a claim": (("claims", 0, "at_lest"), 1, "claims, entry 1: no key at_lest; did you mean at_least?"),
    "misspelt key of a figure": (
        ("figures", "curves", "lnes"),
        "x",
        "figures: curves: no key lnes; did you mean lines?",
    ),
    "misspelt key of a scale": (("scales", "half", "notes"), "x", "scales: half: no key notes; did you mean note?"),
    "name in the file": (("name",), "tiny", "no key name"),
    "misspelt axis": (("runs", 0, "dept"), 1, "runs: no axis 'dept'; did you mean 'depth'?"),
    "misspelt label": (("runs", 0, "labels"), "randon", "runs: no label of labels 'randon'; did you mean 'random'?"),
    "label without quotes": (("claims", 0, "of", "labels"), True, "no label of labels True"),
    "axis left out": (("runs", 0, "seed"), None, "runs: no labels for axis 'seed'; there are depth, labels"),
    "misspelt axis of a claim": (("claims", 1, "of"), {"label": "random"}, "did you mean 'labels'?"),
    "misspelt label of a claim": (("claims", 1, "minus", "labels"), "treu", "did you mean 'true'?"),
    "misspelt quantity": (("claims", 0, "quantity"), "trainin loss", "did you mean 'training loss'?"),
    "misspelt quantity of the paper": (("published", 0, "quantity"), "test eror", "published: no quantity 'test eror'"),
    "misspelt axis of the paper": (
        ("published", 0, "of", "dpth"),
        1,
        "published: no axis 'dpth'; did you mean 'depth'?",
    ),
    "misspelt quantity of a figure": (("figures", "points", "quantity"), "test eror", "figures: points: no quantity"),
    "misspelt axis of a figure": (("figures", "curves", "lines"), "label", "did you mean 'labels'?"),
    "misspelt kind of a figure": (("figures", "curves", "kind"), "curve", "no kind 'curve'; did you mean 'curves'?"),
    "misspelt quantity of the table": (("table",), ["test eror"], "table: no quantity 'test eror'"),
    "misspelt way to take": (("quantities", "best layer", "take"), "best", "quantities: best layer: no way to take"),
    "misspelt axis of a scale": (("scales", "half", "only", "sed"), [0], "scales: half: no axis 'sed'"),
    "misspelt label of a scale": (("scales", "half", "only", "seed"), [7], "scales: half: no label of seed 7"),
    "nothing left": (("scales", "half", "only", "depth"), [], "there are no runs at scale half"),
    "claim without bounds": (("claims", 0, "at_least"), None, "True labels are learnt: needs at_least or at_most"),
    "claim about a name": (("claims", 0, "quantity"), "best layer", "best layer is the name of a layer"),
    "no title": (("title",), None, "title is missing"),
    "no axes": (("axes",), None, "axes is missing"),
    "no runs": (("runs",), None, "runs is missing"),
    "claim without text": (("claims", 0, "text"), None, "claims, entry 1: text is missing"),
    "number without tolerance": (("published", 1, "tolerance"), None, "test error: needs tolerance or chance, one of"),
    "number with both": (("published", 1, "chance"), 90, "test error: needs tolerance or chance, one of them"),
    "chance and bounds": (("claims", 0, "chance"), 10, "needs chance and within, or bounds, not both"),
    "chance of a loss": (
        ("claims", 0),
        {"text": "So", "quantity": "training loss", "chance": 1, "within": 0.1},
        "So: chance needs an accuracy, or error, at one epoch",
    ),
    "chance above all": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 120, "within": 3},
        "So: chance must be between 0 and 100, got 120",
    ),
    "exact accuracy": (("quantities", "test error", "exact"), True, "exact is for metrics other than accuracies"),
    "exact loss": (("quantities", "training loss", "exact"), True, "exact is for metrics other than accuracies"),
    "exact probe": (("quantities", "separability", "exact"), True, "exact is for metrics other than accuracies"),
    "chance of the best layer": (
        ("claims", 0),
        {"text": "So", "quantity": "separability", "chance": 10, "within": 3},
        "So: chance needs the probe of one layer, true_label test conv2",
    ),
    "chance on the training set": (
        ("claims", 0),
        {"text": "So", "quantity": "training accuracy", "chance": 10, "within": 3},
        "So: chance needs a test set: what was trained on is no sample",
    ),
    "chance of the published on the training set": (
        ("published", 0),
        {"quantity": "training accuracy", "of": {"depth": 1, "labels": "true"}, "value": 9, "chance": 10},
        "chance needs a test set",
    ),
    "chance from which nothing is so far away": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 90, "within": 91},
        "So: within 91 of chance, 90, there is all from 0 to 100",
    ),
    "chance of a difference": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 90, "within": 3, "of": {"depth": 1}, "minus": {"depth": 2}},
        "So: chance is for a quantity of its own, within above 0",
    ),
    "set without samples": (("samples",), {"test": 0}, "samples: test must be 1 or more, got 0"),
    "scale without note": (("scales", "half", "note"), None, "scales: half: note is missing"),
    "both metric and probe": (("quantities", "test error", "probe"), "true_label test", "needs either metric or probe"),
    "neither": (("quantities", "test error", "metric"), None, "test error needs either metric or probe"),
    "probe of no split": (("quantities", "separability", "probe"), "true_label", "a label kind and a split"),
    "behind the best of nothing": (
        ("quantities", "separability", "take"),
        "behind_best",
        "behind_best needs a probe with layers",
    ),
    "less all": (("claims", 1, "minus", "labels"), "all", "minus and over name one label of each axis"),
    "another command": (("command",), "test", "command: no command 'test'; there are fit, validate"),
    "correlation of a metric": (
        ("quantities", "test error", "take"),
        "rank_correlation",
        "rank_correlation needs a probe",
    ),
    "best layer of a metric": (("quantities", "test error", "take"), "best_layer", "best_layer needs a probe"),
    "layers of a metric": (("figures", "layers", "quantity"), "test error", "layers needs a quantity with a probe"),
    "points without x": (("figures", "points", "x"), None, "figures: points: points needs x"),
    "points over repetitions": (("figures", "points", "x"), "seed", "points: x must be another axis than seed"),
    "points without places": (("figures", "points", "places"), None, "true is no number, and places does not say"),
    "a figure that is no file": (
        ("figures", "../x"),
        {"kind": "curves", "title": "", "quantity": "test error"},
        "letters",
    ),
    "text for a number": (("claims", 0, "at_least"), "20", "at_least must be a number, got '20'"),
    "text for a list": (("runs",), "all", "runs must be a list"),
    "a list for keys": (("quantities",), [], "quantities must be keys and values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    """The line has the file, the place in it, and what would be right."""
    path, value, said = WRONG[case]
    with pytest.raises(Refused) as refusal:
        read(tmp_path / "mine", changed(*path, to=value))
    line = str(refusal.value)
    assert "\n" not in line
    assert "small" in line
    assert said in line


@pytest.mark.parametrize(
    ("probe", "said"), [("test conv1 conv2", "of one layer"), ("train conv1", "a test set"), ("test conv1", "")]
)
def test_chance_is_for_one_layer_on_a_test_set(probe: str, said: str, tmp_path: Path) -> None:
    """The better of two is no guess, and what a probe was fitted to is no sample."""
    claim = {"text": "So", "quantity": "probe", "chance": 10, "within": 3}
    content = yaml.safe_load(TINY.read_text())
    content["claims"].append(claim)
    content["quantities"]["probe"] = {"probe": f"true_label {probe}", "percent": True}
    if not said:
        assert read(tmp_path / "mine", content).claims[-1].chance == 10
        return
    with pytest.raises(Refused, match=f"So: chance needs .*{said}"):
        read(tmp_path / "mine", content)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would take the last without a word."""
    file = tmp_path / "twice.yaml"
    file.write_text(TINY.read_text() + "title: Another\n")
    with pytest.raises(Refused, match=r"twice.yaml: title stands twice, in lines 2 and \d+"):
        read_experiment(str(file))


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "title: [", "a: b: c", "\0"])
def test_what_is_no_experiment_is_refused(text: str, tmp_path: Path) -> None:
    """Empty files, other YAML and no YAML."""
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(Refused, match=r"odd\.yaml"):
        read_experiment(str(file))


def nodes(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all values in nested dictionaries and lists."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from nodes(value, (*path, key))


RARE: list[Any] = [3, [], {}, ["x"], True, None]
ODD = ["x", {"x": 1}, *(pytest.param(one, marks=pytest.mark.slow) for one in RARE)]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_any_value_in_any_place_is_taken_or_refused(odd: object, tmp_path: Path) -> None:
    """Never a traceback, whatever stands where something else is meant."""
    whole = yaml.safe_load(TINY.read_text())
    for path in nodes({key: value for key, value in whole.items() if key != "options"}):
        other = copy.deepcopy(whole)
        place = other
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = odd
        file = tmp_path / "odd.yaml"
        file.write_text(yaml.safe_dump(other))
        with contextlib.suppress(Refused):
            experiment = read_experiment(str(file))
            for scale in ("full", *experiment.scales):
                planned_runs(experiment, scale, "runs")


@pytest.mark.parametrize(("name", "meant"), [("zhang2017/figur1", "zhang2017/figure1"), ("journal/lnr", "journal/lrn")])
def test_a_misspelt_experiment_is_refused(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line, in one line with the nearest name."""
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", name])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"stratoscope: no experiment {name}; did you mean {meant}?\n"


def test_a_misspelt_scale_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The line has the scales there are."""
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", str(TINY), "--scale", "haf"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("stratoscope: --scale haf: experiments/tiny has full, half")


@pytest.mark.parametrize("words", [["--job", "2"], ["--jobs", "0"], ["--task", "x"], ["--task", "7"], ["--dry"]])
def test_misspelt_words_are_refused(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=words[0]):
        reproduce([str(TINY), *words])
    assert list(tmp_path.iterdir()) == []


def test_names_say_what_differs() -> None:
    """A run is named after its labels, in letters that a directory may have."""
    assert run_name({"network": "MLP 1x512", "n": 100, SEED: 0}) == "MLP-1x512__100__0"
    assert run_name({"p": 0.5, "what": "-%-"}) == "0.5__x"


def test_a_series_of_published_numbers_is_one_entry(tmp_path: Path) -> None:
    """It is one number for each label of its axis."""
    series = {"quantity": "error", "of": {"seed": 0}, "along": "width", "values": {"narrow": 0.5, "wide": 0.25}}
    experiment = read_experiment(str(written(tmp_path, published=[{**series, "tolerance": 0.1}])))
    found = [(one.of, one.value, one.tolerance) for one in experiment.published]
    assert found == [({"seed": 0, "width": "narrow"}, 0.5, 0.1), ({"seed": 0, "width": "wide"}, 0.25, 0.1)]
    with pytest.raises(Refused, match="no label of width 'broad'"):
        read_experiment(str(written(tmp_path, published=[{**series, "values": {"broad": 1.0}, "tolerance": 0.1}])))


@pytest.mark.parametrize(
    "words",
    ["--model.width 3", "--threads=1 --model.width 3", "--data.download --trainer.max_epochs 1", "-c x", "stray"],
)
def test_options_that_change_results_go_to_no_run(words: str, tmp_path: Path) -> None:
    """Wherever they stand: the report would speak of another experiment than was run."""
    with pytest.raises(Refused, match=r"no option|is no option"):
        reproduce([str(written(tmp_path)), *words.split()])
