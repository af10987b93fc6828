"""Every config in configs/ is read, and says what its name says."""

from pathlib import Path

import pytest
import yaml

from stratoscope.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
OTHERS = ("experiments", "sweep.yaml")  # those are not configs of fit, and have tests of their own
FILES = sorted(file for file in CONFIGS.rglob("*.yaml") if file.relative_to(CONFIGS).parts[0] not in OTHERS)
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


def _holds(whole: object, part: object) -> bool:
    """Whether every value of the part is in the whole, at the same place."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and _holds(whole[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(_holds, whole, part))
    return whole == part
