"""Every config in configs/ is read, and says what its name says."""

from pathlib import Path

import pytest
import yaml

from stratoscope import datamodules, models
from stratoscope.commands.table import main
from stratoscope.fit.classes import parameters

CONFIGS = Path(__file__).parents[1] / "configs"
OTHERS = ("experiments", "sweep.yaml")  # those are not configs of fit, and have tests of their own
FILES = sorted(file for file in CONFIGS.rglob("*.yaml") if file.relative_to(CONFIGS).parts[0] not in OTHERS)
PARTS = [file for file in FILES if file.parent.name in {"model", "data"}]
# how a network is trained and where data lie is for whoever uses the part
FREE = {"optimizer", "scheduler", "initialisation", "channels_last", "compile", "interval", "monitor"}
FREE |= {"root", "download", "batch_size", "seed"}
OPTION = {"model": "--model", "data": "--data", "trainer": "--trainer"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_every_config_is_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part is read by its option, a whole config by --config, and what was written is what comes out."""
    written = yaml.safe_load(file.read_text())
    part = file.parent.name
    rest = {
        "model": ["--data", "Digits"],
        "data": ["--model", "MLP"],
        "trainer": ["--model", "MLP", "--data", "Digits"],
    }
    words = [OPTION[part], str(file), *rest[part]] if part in OPTION else ["--config", str(file)]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *words, "--print_config"])
    assert not stop.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    assert _holds(printed[part] if part in OPTION else printed, written)


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_every_part_says_all_that_it_is(file: Path) -> None:
    """A part replaces another of the same class: what it leaves open would stay as it was there."""
    part = yaml.safe_load(file.read_text())
    child = getattr(models if file.parent.name == "model" else datamodules, part["class_path"].rpartition(".")[2])
    assert set(part["init_args"]) == set(parameters(child)) - FREE


@pytest.mark.parametrize(
    ("words", "part", "found"),
    [
        (["--config", "random_label_probes", "--model", "small_alexnet"], "model", {"local_response_norm": True}),
        (["--config", "random_label_probes", "--data", "cifar10"], "data", {"corruption": None}),
        (
            ["--config", "true_label_probes", "--data", "cifar10_crop_and_flip", "--data", "cifar10"],
            "data",
            {"crop": 28},
        ),
    ],
)
def test_a_part_replaces_another(
    words: list[str], part: str, found: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the config before said of it."""
    given = [word if word.startswith("--") else str(next(CONFIGS.rglob(f"{word}.yaml"))) for word in words]
    with pytest.raises(SystemExit):
        main(["fit", *given, "--print_config"])
    assert _holds(yaml.safe_load(capsys.readouterr().out)[part]["init_args"], found)


def _holds(whole: object, part: object) -> bool:
    """Whether every value of the part is in the whole, at the same place."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and _holds(whole[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(_holds, whole, part))
    return whole == part
