"""Mutations of all that the commands read: each is refused in one line with nothing written, or works, within 20 s.

`make test` takes a third of the 150 cases, `make test-all` the others too; `STRATOSCOPE_FUZZ_SEED` and
`STRATOSCOPE_FUZZ_CASES` ask for others, or for more.
"""

import contextlib
import copy
import io
import json
import os
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from stratoscope.commands.table import main
from stratoscope.fit.command import Command
from stratoscope.results.frame import load_runs
from tests.small_experiments import written

SEED = os.environ.get("STRATOSCOPE_FUZZ_SEED", "0")
CASES = int(os.environ.get("STRATOSCOPE_FUZZ_CASES", "150"))
PARTS = 3  # of the cases of a kind; the first is for every day
PATIENCE = 20  # CPU seconds
SMALL = (
    "--model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 64 --threads 1 "
    "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.enable_progress_bar false "
    "--trainer.callbacks LinearProbes --trainer.callbacks.epochs [1] "
    "--trainer.callbacks.taps network.relu1 --trainer.callbacks.measures [rank]"
)
STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    0.5,
    -1e308,
    1e308,
    float("nan"),
    float("inf"),
    2**31,
    2**63,
    -(10**30),
    "",
    "x",
    "a.b.c",
    "os.system",
    "\x00",
    "\x1b[31mred\x07",
    "漢\u202e字\ud800",
    "a" * 5000,
    "../../x",
    "/dev/zero",
    [],
    {},
    [None],
    {"class_path": "os.system", "init_args": {"command": "true"}},
    {"x": [1, {"y": "z"}]},
]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def strange(random: Random) -> Any:
    """A value that is seldom right."""
    if random.random() < 0.05:
        deep: Any = 1
        for _ in range(random.choice([20, 200])):
            deep = [deep] if random.random() < 0.5 else {"x": deep}
        return deep
    return copy.deepcopy(random.choice(STRANGE))


def mutated(value: Any, random: Random) -> Any:
    """A value with one to three changes anywhere in it: deleted, of another kind, twice, under another name."""
    value = copy.deepcopy(value)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        places = list(_places(value))
        if not places:
            return strange(random)
        inside, key = random.choice(places)
        change = random.random()
        if change < 0.2:
            del inside[key]
        elif change < 0.3 and isinstance(inside, dict):
            inside[f"{key}{random.choice(['', 'x', '.', ' ', chr(0)])}"] = inside.pop(key)
        elif change < 0.4 and isinstance(inside, list):
            inside.append(copy.deepcopy(inside[key]))
        else:
            inside[key] = strange(random)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield value, key
        yield from _places(part)


def mutated_text(text: str, random: Random) -> str:
    """A text with pieces cut out, repeated or replaced."""
    for _ in range(random.choice([1, 1, 2, 5])):
        at, to = sorted(random.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + random.choice([1, 3, 30]))
        piece = random.choice([
            "",
            "",
            "\x00",
            "\ufeff",
            "nan",
            "1e400",
            "-",
            "\n\n",
            ",",
            '"',
            "&a *a",
            "\t",
            text[at:to] * 3,
        ])
        text = text[:at] + piece + text[to:]
    return text


def as_yaml(value: Any) -> str:
    """YAML of anything."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def with_config(base: Path, random: Random) -> list[str]:
    """`fit` of another config."""
    whole = yaml.safe_load((base / "one" / "config.yaml").read_text())
    shape = random.random()
    text = BOMB if shape < 0.02 else as_yaml(mutated(whole, random))
    Path("x.yaml").write_text(mutated_text(text, random) if shape > 0.8 else text, errors="surrogatepass")
    return ["fit", "--config", "x.yaml", "--run", "new"]


def with_words(base: Path, random: Random) -> list[str]:
    """Another command line."""
    command = random.choice([
        "fit",
        "fit",
        "fit",
        "validate",
        "test",
        "predict",
        "ls",
        "best",
        "show",
        "resume",
        "report",
    ])
    words = (
        [command, *SMALL.split(), "--run", "new"] if command in {"fit", "validate", "test", "predict"} else [command]
    )
    words += random.choice([[], ["--trainer.max_steps", "3"], ["--trainer.callbacks+", "OnlineProbes"], ["runs"]])
    for _ in range(random.choice([1, 1, 2])):
        at, value = random.randrange(1, len(words) + 1), strange(random)
        word = value if isinstance(value, str) else json.dumps(value)
        if random.random() < 0.2:
            del words[at:]
        else:
            words[at : at + random.choice([0, 1])] = [word]
    return [command, *words[1:]]


def with_checkpoint(base: Path, random: Random) -> list[str]:
    """A command that reads another checkpoint."""
    file = base / "one" / "checkpoints" / "last.ckpt"
    if random.random() < 0.2:
        content = bytearray(file.read_bytes())
        for _ in range(random.choice([1, 20])):
            content[random.randrange(len(content))] = random.randrange(256)
        Path("x.ckpt").write_bytes(content[: random.choice([None, None, random.randrange(len(content))])])
    else:
        torch.save(mutated(torch.load(file, weights_only=True), random), "x.ckpt")
    command = random.choice(["fit", "fit", "validate", "test", "predict"])
    return [command, "--ckpt_path", "x.ckpt", "--run", "new", *(["--trainer.max_epochs", "2"] * (command == "fit"))]


def with_run(base: Path, random: Random) -> list[str]:
    """A command on another run directory."""
    shutil.copytree(base / "one", "runs/bad")
    name = random.choice([
        "run.json",
        "config.yaml",
        "run.json",
        "config.yaml",
        "metrics.csv",
        "probes.csv",
        "measures.csv",
    ])
    file = Path("runs/bad") / name
    if name.endswith("csv") or random.random() < 0.2:
        file.write_text(mutated_text(file.read_text(), random), errors="surrogatepass")
    else:
        whole = yaml.safe_load(file.read_text())
        whole |= {"status": "interrupted"} if name == "run.json" else {}
        content = mutated(whole, random)
        file.write_text(json.dumps(content) if name == "run.json" else as_yaml(content), errors="surrogatepass")
    with contextlib.suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "good" in set(load_runs("runs").run)
    looks = [["ls", "runs"], ["best", "test/loss", "runs"], ["show", "bad"], ["resume", "runs/bad"]]
    return random.choice([*looks, ["fit", *SMALL.split(), "--run", "bad"]])


def with_experiment(base: Path, random: Random) -> list[str]:
    """The report, or the plan, of another experiment."""
    file = written(Path(), note="x", claims=[CLAIM], figures={"f": FIGURE}, scales={"tiny": {"note": "less"}})
    whole = yaml.safe_load(file.read_text())
    text = as_yaml(mutated(whole, random))
    file.write_text(mutated_text(text, random) if random.random() < 0.2 else text, errors="surrogatepass")
    folder = Path("runs/small/full")
    shutil.copytree(base / "one", folder / "narrow_0")
    plan: Any = {"experiment": str(file.absolute()), "scale": "full", "bounds": None, "runs": {}}
    plan = mutated(plan, random) if random.random() < 0.3 else plan
    (folder / "experiment.json").write_text(json.dumps(plan))
    return ["report", str(folder)] if random.random() < 0.8 else ["reproduce", file.name, "--dry-run"]


CLAIM = {"text": "less", "quantity": "error", "of": {"width": "narrow"}, "at_most": 1.0}
FIGURE = {"kind": "points", "title": "t", "quantity": "error", "x": "width", "places": {"narrow": 1, "wide": 2}}


def with_data(base: Path, random: Random) -> list[str]:
    """`fit` on another folder of images."""
    for split in ("train", "test"):
        for number in range(4):
            file = Path("data") / split / random.choice(["cat", "dog", "\u202ex", ".x"]) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            size = random.choice([32, 32, 32, 1, 31])
            Image.new(random.choice(["RGB", "L", "RGBA", "I;16", "P"]), (size, size)).save(file)
            if random.random() < 0.3:
                content = bytearray(file.read_bytes())
                content[random.randrange(len(content))] ^= 255
                file.write_bytes(content[: random.choice([None, 10, 0])])
    if random.random() < 0.2:
        shutil.rmtree(Path("data") / random.choice(["train", "test"]))
    if random.random() < 0.2:
        Path("data/cifar-10-python.tar.gz").write_bytes(random.randbytes(100))
    data = random.choice(["CIFAR10", "CIFAR10", "CIFAR100", "MNIST"])
    return ["fit", "--model", "MLP", "--model.width", "4", "--data", data, "--data.root", "data", "--run", "new"]


KINDS: dict[str, tuple[float, Callable[[Path, Random], list[str]]]] = {
    "config": (0.16, with_config),
    "words": (0.2, with_words),
    "checkpoint": (0.16, with_checkpoint),
    "run": (0.24, with_run),
    "experiment": (0.16, with_experiment),
    "data": (0.08, with_data),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with all tables."""
    runs = tmp_path_factory.mktemp("base")
    main(["fit", *SMALL.split(), "--run", "one", "--runs", str(runs)])
    return runs


@pytest.fixture
def _bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is right is trained for an epoch, by this process."""
    start = Command.start

    def one_epoch(command: Command) -> None:
        command.trainer.fit_loop.max_epochs = 1 + (command.trainer.fit_loop.max_epochs == 2)
        if command.trainer.world_size == 1:
            start(command)

    monkeypatch.setattr(Command, "start", one_epoch)
    monkeypatch.setattr("stratoscope.commands.table.missing", lambda: [])  # the same in every case
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)


def too_long(number: int, frame: Any) -> None:
    """Ends a case.

    Raises:
        TimeoutError: Always.
    """
    raise TimeoutError(f"more than {PATIENCE} CPU seconds")


def fault(words: list[str]) -> str:
    """What a command does wrong; empty if nothing."""
    before = set(Path().rglob("*"))
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main(words)
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        return f"{type(error).__name__}: {error} {traceback.format_exc()[-900:]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    said = [line for line in err.getvalue().splitlines() if line.startswith("stratoscope:")]
    if "Traceback" in err.getvalue() or "\x1b" in "".join(said):
        return err.getvalue()
    if code == 2 and (len(said) != 1 or len(err.getvalue().splitlines()) != 1):
        return f"{len(err.getvalue().splitlines())} lines: {err.getvalue()[:900]}"
    if code == 2 and (left := set(Path().rglob("*")) - before):
        return f"left {sorted(map(str, left))}: {said}"
    return "" if code in {0, 2, None} or (code == 1 and len(said) == 1) else f"code {code}: {err.getvalue()[:900]}"


@pytest.mark.usefixtures("_bounded", "no_pictures")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[pytest.mark.slow] if part else []) for part in range(PARTS)]
)
@pytest.mark.parametrize("kind", list(KINDS))
def test_whatever_is_read_is_refused_in_one_line_or_works(
    kind: str, part: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third case of a kind; those that failed are listed with the command that repeats them."""
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    share, make = KINDS[kind]
    faults = []
    for number in range(part, round(share * CASES), PARTS):
        random = Random(f"{SEED} {kind} {number}")
        folder = tmp_path / str(number)
        shutil.copytree(base / "one", folder / "runs" / "good")
        monkeypatch.chdir(folder)
        words = make(base, random)
        if found := fault(words):
            faults.append(f"seed {SEED}, {kind} {number}: {words!r:.500}\n  {found}")
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
    assert not faults, "\n".join([f"{len(faults)} faults", *faults])
