"""Tests of stratoscope/run/free_options.py: what may change when a run goes on is an option, and decides no result."""

import pytest
import yaml

from stratoscope.fit.command import build
from stratoscope.run.free_options import DEVICES, FREE
from stratoscope.run.going_on import sorted_out


def test_every_one_is_an_option_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Or a word that was renamed would free nothing."""
    with pytest.raises(SystemExit):
        build("fit --model MLP --data CIFAR10 --print_config".split())
    config = yaml.safe_load(capsys.readouterr().out.partition("\n")[2])
    known = {f"--{name}" for name in config} | {f"--trainer.{name}" for name in config["trainer"]}
    known |= {f"--{part}.{name}" for part in ("model", "data") for name in config[part]["init_args"]}
    assert set(FREE) <= known
    assert set(DEVICES) < set(FREE)


@pytest.mark.parametrize("option", FREE)
def test_each_is_sorted_out_of_what_differs(option: str) -> None:
    """With all that is below it; what begins alike is not meant."""
    place = option.removeprefix("--").replace("data.", "data.init_args.").replace("model.", "model.init_args.")
    same = {"trainer": {"devices": 1, "num_nodes": 1}}
    lines = [f"{place}: 1 before, 2 now", f"{place}.inner: 1 before, 2 now"]
    assert sorted_out(lines, same, same)[2] == lines
    other = [f"{place}_of_another_kind: 1 before, 2 now"]
    assert sorted_out(other, same, same)[0] == other
