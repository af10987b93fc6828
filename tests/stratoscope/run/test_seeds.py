"""Which seed decides what: repetitions differ in their data, what is stored keeps its meaning, and both are said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from stratoscope import datamodules
from stratoscope.commands.table import main
from stratoscope.datamodules import Corruption, Sets, labelled
from stratoscope.errors import Refused
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.experiments.grid import planned_runs, repetitions
from stratoscope.fit import arguments as arguments_of
from stratoscope.fit.command import Command, build
from stratoscope.run.checkpoint import CONFIG
from stratoscope.run.seeds import NOTHING_DRAWN, ORDER, WEIGHTS, seeds_of, told_repetitions, told_seeds

HERE = Path(__file__).parent
# what the release before gave the sets of config_of_the_release_before.yaml (seed_everything 3, corruptions' seeds 0)
BEFORE = {
    "train": "e7a3464bddbe2e3b9ef86676cc845f184beb27b70bad622ae8a9adef7195479b",
    "test": "8a8fc4af423203c165ff460b12771b1c6cbe12f218eb66f353b5e22bc376de6f",
}
FIT = (
    "fit --model MLP --model.width 4 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 100 "
    "--data.test_size 20 --trainer.accelerator cpu --trainer.max_epochs 1"
)
MAKERS: dict[str, Callable[..., Corruption]] = {
    "PartialLabels": lambda **seed: datamodules.PartialLabels(0.5, **seed),
    "ConfusedLabels": lambda **seed: datamodules.ConfusedLabels([[0.1] * 10] * 10, **seed),
    "AsymmetricLabels": lambda **seed: datamodules.AsymmetricLabels(0.5, **seed),
    "RandomSubset": lambda **seed: datamodules.RandomSubset(40, **seed),
}
NAMES = [
    name
    for name in datamodules.__all__
    if isinstance(kind := getattr(datamodules, name), type)
    and issubclass(kind, Corruption)
    and name not in {"Corruption", "AutomaticLabels", "HumanLabels"}  # of the last one the draws are other people's
]


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def corrupted(name: str, **seed: int | None) -> list[torch.Tensor]:
    """What a corruption makes of 60 random images: images, given labels and which samples they are."""
    generator = torch.Generator().manual_seed(0)
    sets: Sets = {
        split: labelled(torch.randint(0, 256, (60, 3, 8, 8), generator=generator).byte(), torch.arange(60) % 10)
        for split in ("train", "test")
    }
    make: Callable[..., Corruption] = MAKERS.get(name) or getattr(datamodules, name)
    return [part for data in make(**seed)(sets, 10).values() for part in (data.image, data.given_label, data.index)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Whether all tensors are."""
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_corruption_without_a_seed_follows_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own wins; without either it is 0, as it always was; and those that draw nothing are known."""
    at_zero = corrupted(name, seed=0)
    assert same(corrupted(name), at_zero)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")  # as seed_everything does, for all processes
    assert same(corrupted(name), corrupted(name, seed=7))
    assert same(corrupted(name, seed=0), at_zero)
    assert same(corrupted(name), at_zero) == (name in NOTHING_DRAWN)


def test_the_seed_of_the_run_is_asked_for_when_the_data_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does not matter what comes first in a script; two draws of one seed are refused then, too."""

    def labels(data: datamodules.Digits) -> torch.Tensor:
        data.setup()
        return data.sets["train"].data.given_label

    data = datamodules.Digits(corruption=datamodules.RandomLabels())
    both = datamodules.Digits(corruption=[datamodules.RandomLabels(), datamodules.RandomLabels(5)])
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert torch.equal(labels(data), labels(datamodules.Digits(corruption=datamodules.RandomLabels(5))))
    with pytest.raises(ValueError, match="RandomLabels would draw the numbers of a corruption before it"):
        both.setup()


@pytest.mark.parametrize(
    "corruption", ["--data.corruption RandomLabels", "--data.corruption+ RandomSubset --data.corruption.n 90"]
)
def test_repetitions_differ_in_their_data_and_say_so(corruption: str) -> None:
    """On the command line, of one corruption and of a list; what is stored has the seed."""

    def stored(words: str) -> tuple[str, int]:
        command = build(f"{FIT} {corruption} {words}".split())
        made = command.record["data"]["init_args"]["corruption"]
        return command.data_hashes["train"], (made[0] if isinstance(made, list) else made)["init_args"]["seed"]  # type: ignore[index]

    first, second = stored("--seed_everything 0"), stored("--seed_everything 1")
    assert (first[1], second[1]) == (0, 1)
    assert first[0] != second[0]
    assert stored("--seed_everything 1 --data.corruption.seed 0") == first


def test_what_the_release_before_stored_keeps_its_data() -> None:
    """A run goes on with the data it was begun with, and its config gives them to others."""
    config = HERE / "config_of_the_release_before.yaml"
    assert build(["fit", "--config", str(config)]).data_hashes == BEFORE
    run = Path("runs/before")
    run.mkdir(parents=True)
    then = yaml.safe_load(config.read_text())
    then["trainer"]["callbacks"] = None  # probes, which decide nothing about the data
    (run / "config.yaml").write_text(yaml.safe_dump(then))
    asked = {"command": "fit", "ckpt_path": None}
    (run / "run.json").write_text(json.dumps({"status": "interrupted", "asked": asked, "data": BEFORE}))
    main(["resume", str(run)])
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["data"]) == ("finished", BEFORE)
    assert record["samples"] == {"train": 100, "test": 360}
    assert yaml.safe_load((run / "config.yaml").read_text())["data"] == then["data"]
    same_words = build(["fit", "--config", str(config), "--seed_everything", "8"])
    assert same_words.data_hashes == BEFORE  # their seeds are written out


def begun(words: str) -> Command:
    """Write down the run that these words ask for as one that was interrupted, called `before`."""
    command = build(f"{FIT} {words}".split())
    run = Path("runs/before")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(command.record))
    record = {"status": "interrupted", "asked": command.asked, "data": command.data_hashes}
    (run / "run.json").write_text(json.dumps(record))
    return command


@pytest.mark.parametrize(
    ("corruption", "seed", "note"),
    [
        ("--data.corruption RandomLabels", "--data.corruption.seed 0", True),
        ("--data.corruption+ RandomSubset --data.corruption.n 90", "--data.corruption.seed 0", True),
        ("--data.corruption EdgeLabels", "--data.corruption.seed 0", False),
        ("--data.corruption RandomLabels", "", False),
        ("--data.corruption EdgeLabels", "", False),
    ],
)
def test_a_run_goes_on_with_the_seeds_it_was_begun_with(corruption: str, seed: str, note: bool) -> None:
    """The same words go on with a run in whose config the default of the first releases, 0, is written out."""
    before = begun(f"{corruption} {seed} --seed_everything 1")
    again = build(f"{FIT} {corruption} --seed_everything 1 --run before".split())
    assert (again.record, again.data_hashes) == (before.record, before.data_hashes)
    assert any("keeps seed 0, with which the run was begun" in line for line in again.notes) == note
    with pytest.raises(Refused, match=r"seed: .* before, 5 now"):
        build(f"{FIT} {corruption} --data.corruption.seed 5 --seed_everything 1 --run before".split())


def test_a_corruption_that_draws_nothing_is_given_no_seed() -> None:
    """And another one at a place of a run that is there takes nothing from it."""
    made = begun("--data.corruption EdgeLabels --seed_everything 1").record["data"]["init_args"]["corruption"]
    assert made["init_args"]["seed"] is None
    with pytest.raises(Refused, match=r"RandomLabels.*seed: null before, 1 now"):
        build(f"{FIT} --data.corruption RandomLabels --seed_everything 1 --run before".split())


@pytest.mark.parametrize("text", ["{class_path: RandomLabels}", "[RandomLabels]", '["RandomLabels"]'])
def test_corruptions_may_be_written_as_on_the_command_line(text: str) -> None:
    """As YAML or JSON in a text."""
    runs = [{"data.corruption": text, "seed_everything": seed} for seed in (0, 1)]
    assert told_repetitions([runs]) == f"repetitions differ in {WEIGHTS}, {ORDER}, RandomLabels"


@pytest.mark.parametrize(
    ("words", "arguments", "said"),
    [
        ("validate --seed_everything 5", {"share": 0.5}, True),
        ("test --seed_everything=5", None, True),
        ("test --seed_everything=5", {"seed": 3}, False),
        ("validate --seed_everything 3", {}, False),
        ("validate", {}, False),
    ],
)
def test_another_seed_of_data_that_have_none_of_their_own_is_said(
    words: str, arguments: dict[str, Any] | None, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a checkpoint is evaluated whose corruption takes no seed, so that none is stored."""
    corruption = {"class_path": "my.Smudge"} | ({} if arguments is None else {"init_args": arguments})
    stored = {"seed_everything": 3, "data": {"class_path": "my.Data", "init_args": {"corruption": [corruption]}}}
    monkeypatch.setattr(arguments_of, "load_checkpoint", lambda path: {CONFIG: stored})
    notes = arguments_of.with_checkpoint_config([*words.split(), "--ckpt_path", "x.ckpt"], True)[1]
    line = "Smudge takes no seed: with --seed_everything 5, not 3, it makes other data than for x.ckpt"
    assert notes == ([line] if said else [])


def test_the_seeds_of_a_run() -> None:
    """By what they decide; corruptions that draw nothing have none."""
    settings = {
        "seed_everything": 3,
        "data.seed": None,
        "data.corruption": "RandomSubset, EdgeLabels, RandomLabels, RandomLabels",
        "data.corruption.RandomSubset.seed": 0,
        "data.corruption.RandomLabels.seed": 3,
        "data.corruption.RandomLabels-2.seed": 9,
    }
    seeds = {WEIGHTS: 3, ORDER: 3, "RandomSubset": 0, "RandomLabels": 3, "RandomLabels-2": 9}
    assert seeds_of(settings) == seeds
    assert told_seeds(seeds) == f"3: {WEIGHTS}, {ORDER}, RandomLabels; 0: RandomSubset; 9: RandomLabels-2"
    single = {"seed_everything": 1, "data.seed": 5, "data.corruption": "RandomLabels", "data.corruption.seed": 2}
    assert seeds_of(single) == {WEIGHTS: 1, ORDER: 5, "RandomLabels": 2}
    assert seeds_of({"data.corruption": "[]"}) == {WEIGHTS: 0, ORDER: 0}


def test_what_differs_between_repetitions() -> None:
    """In words, from the options of an experiment's file."""
    runs = [{"seed_everything": seed, "data.corruption": ["RandomLabels"]} for seed in range(3)]
    assert told_repetitions([runs]) == f"repetitions differ in {WEIGHTS}, {ORDER}, RandomLabels"
    fixed = {"class_path": "RandomSubset", "init_args": {"n": 5, "seed": 0}}
    runs = [{"seed_everything": seed, "data.corruption": ["RandomLabels", fixed]} for seed in range(2)]
    text = f"repetitions differ in {WEIGHTS}, {ORDER}, RandomLabels; the same in all: RandomSubset"
    assert told_repetitions([runs]) == text
    assert told_repetitions([runs, [{"data.corruption": "x"}]]) == text
    single = [
        {"seed_everything": seed, "data.corruption": "RandomLabels", "data.corruption.seed": 1} for seed in (0, 1)
    ]
    assert told_repetitions([single]).endswith("the same in all: RandomLabels")
    assert told_repetitions([[{}], [{}]]) == ""
    for odd in ("[", "{a: *b}", "[[1]]", "[{init_args: 3}]", "&a [*a]", [1]):  # about which there is nothing to say
        assert "weights" in told_repetitions([[{"data.corruption": odd}, {"data.corruption": odd}]])
    assert told_repetitions([[{"seed_everything": odd} for odd in ("foo", [1])]]).startswith("repetitions differ in")
    assert told_repetitions([[{}, {}]]).startswith("repetitions do not differ; the same in all: weights")


@pytest.mark.parametrize("name", experiment_names())
def test_repetitions_of_the_shipped_experiments_differ_in_their_data(name: str) -> None:
    """In all of it that is drawn, at every scale."""
    experiment = read_experiment(name)
    for scale in ("full", *experiment.scales):
        told = told_repetitions(repetitions(planned_runs(experiment, scale, "runs")))
        assert "the same" not in told
        if name == "journal/label_sources":
            wanted = {"RandomLabels", "ConvolutionLabels", "ColourLabels", "ClusterLabels"}
            assert wanted <= set(told.removeprefix("repetitions differ in ").split(", "))
            assert ("RandomSubset" in told) == (scale == "small")


def test_the_sweep_differs_in_its_data() -> None:
    """Its seeds decide them, as its corruptions have none of their own."""
    sweep = yaml.safe_load((HERE.parents[2] / "configs" / "sweep.yaml").read_text())
    seeds, kinds = (sweep["parameters"][key]["values"] for key in ("seed_everything", "data.corruption"))
    config = HERE.parents[2] / sweep["command"][sweep["command"].index("--config") + 1]
    words = ["fit", "--config", str(config), f"--data.corruption={kinds[0]}"]
    found = [build([*words, f"--seed_everything={seed}"]).data_hashes["train"] for seed in seeds[:2]]  # type: ignore[index]
    assert found[0] != found[1]
