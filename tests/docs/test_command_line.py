"""Tests of docs/_ext/command_line.py."""

import re

import pytest

from docs._ext.command_line import commands
from stratoscope.commands.table import COMMANDS


@pytest.fixture(scope="module")
def page() -> dict[str, str]:
    """What is said about every command, by its name; what comes before under an empty one."""
    parts = re.split(r"^## `stratoscope (.+)`$", commands(), flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def test_every_command_has_its_section(page: dict[str, str]) -> None:
    """In the order of the table, which is there too."""
    assert list(page) == ["", *COMMANDS]
    assert re.findall(r"^\| \[`(.+?)`\]", page[""], re.MULTILINE) == list(COMMANDS)


def test_options_are_those_of_the_parsers(page: dict[str, str]) -> None:
    """Of commands of ours, and of LightningCLI's; each with its text, and its default if it has one."""
    assert "`--sort`\n: Sort by the last value of a metric, best first." in page["ls"]
    assert "`--scale`\n: a smaller version of the experiment Default: `full`." in page["reproduce"]
    assert "`ENTITY/PROJECT`\n: " in page["workspace"]
    for option in ("--config", "--run", "--model", "--data", "--trainer.max_epochs"):
        assert f"\n`{option}`\n: " in page["fit"]
    assert "--help" not in page["fit"]
    assert "`--return_predictions`" in page["predict"]
