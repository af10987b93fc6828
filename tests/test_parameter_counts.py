"""docs/reference/networks.md: every parameter count is that of the network, and says whose number it is."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule

from stratoscope import models

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "networks.md").read_text()
ROWS = dict(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE))
Maker = Callable[[], LightningModule]
# by row: the networks of its numbers, in their order, each of them all variants that have this number
COUNTED: dict[str, list[list[Maker]]] = {
    "`SmallInception`": [[models.SmallInception, lambda: models.SmallInception(batch_norm=False)]],
    "`SmallAlexNet`": [[models.SmallAlexNet, lambda: models.SmallAlexNet(local_response_norm=False)]],
    "`MLP`": [[models.MLP], [lambda: models.MLP(depth=3)]],
    "`AlexNet`": [[models.AlexNet, lambda: models.AlexNet(local_response_norm=False)]],
    "`CifarResNet`": [[partial(models.CifarResNet, depth=depth)] for depth in (20, 32, 44, 56, 110)],
    "`ResNet`": [[partial(models.ResNet, depth=depth)] for depth in (18, 34, 50)],
    "`WideResNet`": [[partial(models.WideResNet, depth=28, width=width)] for width in (1, 10)],
    "`VGG`": [[models.VGG]],
    "`KeskarF1`, `KeskarC1`, `KeskarC2`": [[models.KeskarF1], [models.KeskarC1], [models.KeskarC2]],
    "`MNISTConvNet`": [[models.MNISTConvNet]],
    "`SkipMLP`": [[models.SkipMLP]],
    "`NeelakantanMLP`": [[models.NeelakantanMLP]],
}
# Zhang et al. 2017, table 1, and the WRN-28-1 of its authors' demonstration
PUBLISHED = {1_649_402, 1_387_786, 1_209_866, 1_735_178, 369_498}
# millions in He et al. 2016, table 6, and Zagoruyko & Komodakis 2016, table 1, with their digits
ROUNDED = {269_722: "0.27", 464_154: "0.46", 658_586: "0.66", 853_018: "0.85", 1_727_962: "1.7", 36_479_194: "36.5"}


def count(make: Maker) -> int:
    """Parameters that are trained, without making any."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters() if parameter.requires_grad)


@pytest.mark.parametrize("row", COUNTED)
def test_the_counts_are_those_of_the_networks(row: str) -> None:
    """Of every variant that has the number."""
    numbers = [int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d{3})+", ROWS[row])]
    assert [{count(make) for make in makers} for makers in COUNTED[row]] == [{number} for number in numbers]


def test_it_is_said_whose_number_every_count_is() -> None:
    """Bold ones are published to the digit, rounded ones agree with what is published, the others are our own."""
    bold: set[int] = set()
    rounded: set[int] = set()
    computed: set[int] = set()
    for row, cell in ROWS.items():
        if row in COUNTED:
            for number, after in re.findall(r"(\*\*\d[\d,]*\*\*|\d+(?:,\d{3})+)(?=([^*]*))", cell):
                value = int(number.strip("*").replace(",", ""))
                kind = bold if number.startswith("**") else rounded if "rounded" in after else computed
                kind.add(value)
                assert kind is not computed or "computed" in after, row
    assert bold == PUBLISHED
    assert rounded == set(ROUNDED)
    for value, millions in ROUNDED.items():
        assert f"{value / 1e6:.{len(millions.partition('.')[2])}f}" == millions
    assert not computed & (PUBLISHED | set(ROUNDED))


@pytest.mark.parametrize("budget", [1_000_000, 31_600_000])
def test_budgets_are_kept_to_a_percent(budget: int) -> None:
    """Of the network of four convolutions."""
    assert ROWS["`UrbanConvNet`"] == "1 M to 31.6 M, within 1 %"
    assert count(lambda: models.UrbanConvNet(4, parameters=budget)) == pytest.approx(budget, rel=0.01)
