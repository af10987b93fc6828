"""Tests of stratoscope/run/masking.py: keys and passwords are used, and written down nowhere."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from stratoscope.commands.table import main
from stratoscope.run.directory import different
from stratoscope.run.masking import MASK, masked, masked_words, without_masks

FIT = (
    "fit --model MLP --model.width 4 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 64 "
    "--data.test_size 20 --threads 1 --trainer.accelerator cpu --trainer.max_epochs 1 "
    "--trainer.enable_progress_bar false"
)


def test_masks() -> None:
    """By name and by form of the value; other options, and those that are not given, stay."""
    config = {"api_key": "x", "wandb_token": "y", "password": None, "url": "http://a:b@c", "n": [{"secret": "z"}]}
    plain_ones = {"taps": ["network.token"], "token_mean": "x", "class_token": True, "key": "x", "monkey": "x"}
    hidden = {"api_key": MASK, "wandb_token": MASK, "password": None, "url": MASK, "n": [{"secret": MASK}]}
    assert masked(config | plain_ones) == hidden | plain_ones
    assert without_masks(masked(config)) == {"password": None, "n": [{}]}
    assert masked_words(["fit", "--a.api_key", "x", "--b={s: deeper}", "--c=1"], {"secret": "deeper"}) == [
        "fit",
        "--a.api_key",
        MASK,
        f"--b={{s: {MASK}}}",
        "--c=1",
    ]
    network = {"n_token": 77, "mask_token": "[M]", "pad-token": "[P]", "token": 3, "cls_token": "x", "secret": 8}
    assert masked(network) == network
    keys = ["token", "a.token", "hf_token", "auth-token", "my_api_token", "accesstoken", "pwd", "x.password"]
    assert masked(dict.fromkeys(keys, "x")) == dict.fromkeys(keys, MASK)
    assert masked({"password": 1234, "db_pwd": 1}) == {"password": MASK, "db_pwd": MASK}
    words = ["fit", "--model.n_token", "8", "--model.width=18", "--db.password", "1"]
    assert masked_words(words, {"n_token": 8, "password": 1}) == [*words[:-1], MASK]
    assert different({"a": MASK, "b": 1}, {"a": "x", "b": 2}) == ["b: 1 before, 2 now"]


def test_keys_are_written_down_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key given as an option is not in any file of the run; going on does without it, or with another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    key = "k3y-0123456789"
    (tmp_path / "keyed.py").write_text(
        "from lightning.pytorch.loggers import CSVLogger\n\n\nclass Keyed(CSVLogger):\n"
        "    def __init__(self, api_key: str | None = None, address: str = ''):\n"
        "        super().__init__('csv')\n        self.key = api_key\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    address = "https://me:pa55w0rd@example.org/x"
    line = f"{FIT} --run keyed --trainer.logger keyed.Keyed"
    words = [*line.split(), f"--trainer.logger.api_key={key}", "--trainer.logger.address", address]
    monkeypatch.setattr("sys.argv", ["stratoscope", *words])
    main(words)
    files = [file for file in Path("runs/keyed").rglob("*") if file.is_file()]
    assert len(files) >= 5
    for file in files:
        assert not any(secret.encode() in file.read_bytes() for secret in (key, "pa55w0rd")), file
    record = json.loads(Path("runs/keyed/run.json").read_text())
    assert f"--trainer.logger.api_key={MASK}" in shlex.split(record["commands"][0])
    config = yaml.safe_load(Path("runs/keyed/config.yaml").read_text())
    assert config["trainer"]["logger"]["init_args"] == {"api_key": MASK, "address": MASK}
    Path("runs/keyed/run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    monkeypatch.setattr("sys.argv", ["stratoscope", "resume", "runs/keyed", "--trust"])
    main(["resume", "runs/keyed", "--trust"])
    assert json.loads(Path("runs/keyed/run.json").read_text())["status"] == "finished"
    main([word.replace(key, "another") for word in words])


@pytest.mark.parametrize("word", ["--url=https://me:pass@example.org", "--a.api_key=x", "--password=1"])
def test_a_word_with_a_secret_is_masked_by_its_own_name_or_form(word: str) -> None:
    """The option stays to be seen; an address without a password is none."""
    option = word.partition("=")[0]
    assert masked_words(["fit", word, "https://example.org", "--key", "x"]) == [
        "fit",
        f"{option}={MASK}",
        "https://example.org",
        "--key",
        "x",
    ]


def test_a_short_secret_is_masked_under_its_name_only() -> None:
    """It is a part of many words; a long one is masked wherever it stands."""
    assert masked_words(["fitted", "--note", "is-it-it"], {"secret": "it"}) == ["fitted", "--note", "is-it-it"]
    assert masked_words(["a-longer-b"], {"secret": "longer"}) == [f"a-{MASK}-b"]
