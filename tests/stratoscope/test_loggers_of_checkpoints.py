"""validate, test and predict log where they are asked to, not where the network was trained."""

from pathlib import Path

import pytest
import yaml

from stratoscope.commands.table import main

FIT = (
    "fit --model MLP --model.width 8 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 64 "
    "--data.test_size 20 --trainer.accelerator cpu --threads 1 --trainer.max_epochs 1 --run r "
    "--trainer.logger CSVLogger --trainer.logger.save_dir theirs"
)
LAST = "--ckpt_path runs/r/checkpoints/last.ckpt"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def test_only_loggers_that_are_asked_for_are_opened() -> None:
    """Whatever the checkpoint's config has; with --trust those are opened again."""
    main(FIT.split())
    before = sorted(Path("theirs").rglob("*"))
    assert before
    for command in ("validate", "test", "predict"):
        main(f"{command} {LAST} --run {command}".split())
        assert sorted(Path("theirs").rglob("*")) == before, command
        assert yaml.safe_load(Path(f"runs/{command}/config.yaml").read_text())["trainer"]["logger"] is None
    main(f"test {LAST} --run asked --trainer.logger CSVLogger --trainer.logger.save_dir mine".split())
    assert list(Path("mine").rglob("metrics.csv"))
    main(f"fit {LAST} --run more --trainer.max_epochs 2 --trust".split())
    assert sorted(Path("theirs").rglob("*")) != before
