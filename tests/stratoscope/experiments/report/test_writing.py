"""Tests of stratoscope/report: what stands in the page and beside it is what the runs left."""

import base64
import csv
import json
import math
import re
import shutil
from pathlib import Path
from statistics import fmean

import pytest
from matplotlib.figure import Figure as Picture
from PIL import Image
from scipy import stats

from stratoscope.commands.reproduce import reproduce
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.experiments.claims import Verdict
from stratoscope.experiments.experiment import Claim
from stratoscope.experiments.measured import Reading
from stratoscope.experiments.quantities import Estimate
from stratoscope.experiments.report import write_report, writing
from stratoscope.experiments.report.writing import _verdict_row
from stratoscope.probes.statistics.interval import wilson
from tests.html_pages import Page
from tests.small_experiments import TINY

FIGURES = ("curves", "points", "layers", "profile")
GROUPS = [("1", "true"), ("1", "0.5"), ("1", "random"), ("2", "true")]
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of tiny.yaml, finished, with their report."""
    runs = tmp_path_factory.mktemp("runs")
    assert reproduce(["reproduce", str(TINY), "--runs", str(runs), "--jobs", "2"]) == 0
    return runs / "experiments_tiny" / "full"


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(folder, tmp_path / "experiments_tiny" / "full"))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of reports are small and empty in this test."""
    monkeypatch.setattr(writing, "draw", lambda *_: (Picture(figsize=(1, 1)), []))


def table(file: Path) -> Rows:
    """The rows of a CSV file."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def column(run: Path, name: str) -> dict[int, float]:
    """A metric of a run by epoch."""
    return {int(float(row["epoch"])): float(row[name]) for row in table(run / "metrics.csv") if row.get(name)}


def accuracies(run: Path, epoch: int) -> dict[str, float]:
    """What the probe of the true labels finds in the test set, in percent by layer."""
    return {
        row["layer"]: 100 * float(row["accuracy"])
        for row in table(run / "probes.csv")
        if (row["labels"], row["split"], row["chosen"], row["epoch"]) == ("true_label", "test", "True", str(epoch))
    }


def runs_of(folder: Path, depth: str, labels: str) -> list[Path]:
    """The run directories of a group, by seed."""
    return sorted(path for path in folder.glob(f"{depth}__{labels}__*") if path.is_dir())


def margin_of(values: list[float], name: str) -> float:
    """Half the 95 % interval: of Student's t, of 360 test images where it is about them, and of whole epochs."""
    spread = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else 0.0
    sides = []
    for side in (0, 1):
        sampling = 0.0
        if name in {"test error", "separability"}:
            ends = [(value / 100, wilson(round(3.6 * value), 360)[side]) for value in values]
            sampling = 100 * fmean(abs(end - value) for value, end in ends)
        sides.append(math.hypot(spread, sampling))
    return max(sides) + (name == "epochs to half")


def shown(values: list[float], name: str) -> str:
    """Mean and half the 95 % interval as the page has them."""
    if any(map(math.isinf, values)):
        return "never in 3 epochs"
    margin = margin_of(values, name)
    return f"{fmean(values):,.4g} ± {margin:,.4g}" if len(values) > 1 or margin else f"{fmean(values):,.4g}"


def by_hand(folder: Path, depth: str, labels: str) -> dict[str, list[float]]:
    """The quantities of a group, a number for each seed, from the runs' own files."""
    runs = runs_of(folder, depth, labels)
    halves = [[epoch for epoch, value in column(run, "train/accuracy").items() if value >= 0.5] for run in runs]
    return {
        "training loss": [column(run, "train/loss")[3] for run in runs],
        "training accuracy": [100 * column(run, "train/accuracy")[3] for run in runs],
        "test error": [100 * (1 - column(run, "test/accuracy")[3]) for run in runs],
        "epochs to half": [float(min(half, default=math.inf)) for half in halves],
        "separability": [max(accuracies(run, 3).values()) for run in runs],
    }


def test_the_page_is_whole_and_refers_to_nothing_elsewhere(folder: Path) -> None:
    """Valid HTML; pictures are within it, and so are the files that lie beside it, to the byte."""
    text = (folder / "report.html").read_text()
    assert text.startswith("<!doctype html>\n")
    page = Page(text)
    for tag, target in page.links:
        if tag == "img":
            assert target.startswith("data:image/png;base64,")
        else:
            assert tag == "a"
            assert target.startswith("data:")
    names = [f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf", "csv")]
    inside = re.findall(r'<a download="([^"]+)" href="data:[a-z/]+;base64,([^"]+)">', text)
    assert [name for name, _ in inside] == [*names, "table.csv", "published.csv", "verdicts.json"]
    for name, content in inside:
        assert base64.b64decode(content) == (folder / "report" / name).read_bytes()
    assert "://" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert page.details == 7
    assert "7 of 7 runs finished" in text
    assert "Not the paper" not in text


def test_the_numbers_of_the_page_are_those_of_the_runs(folder: Path) -> None:
    """Means and intervals of every group, worked out from metrics.csv and probes.csv."""
    (heads, *rows) = Page((folder / "report.html").read_text()).tables[-1]
    names = [head.split(", ")[0] for head in heads]
    assert heads[3:5] == ["training loss, nats", "training accuracy, %"]
    assert [tuple(row[:2]) for row in rows] == GROUPS
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        assert cells["runs"] == str(len(runs_of(folder, row[0], row[1])))
        for name, values in by_hand(folder, row[0], row[1]).items():
            assert cells[name] == shown(values, name), (row, name)
        ends = [accuracies(run, 3) for run in runs_of(folder, row[0], row[1])]
        assert cells["best layer"] == "/".join(sorted({max(end, key=end.__getitem__) for end in ends}))


def test_the_table_is_there_as_a_file(folder: Path) -> None:
    """With all digits."""
    for row in table(folder / "report" / "table.csv"):
        for name, values in by_hand(folder, row["depth"], row["labels"]).items():
            assert float(row[name]) == pytest.approx(fmean(values), rel=1e-12)


def test_verdicts_and_comparisons_are_those_of_the_numbers(folder: Path) -> None:
    """On the page and in verdicts.json and published.csv."""
    true, random = by_hand(folder, "1", "true"), by_hand(folder, "1", "random")
    learnt = true["training accuracy"]
    difference = [a - b for a, b in zip(random["training accuracy"], learnt, strict=True)]
    verdicts = json.loads((folder / "report" / "verdicts.json").read_text())
    assert [next(iter(one["numbers"].values()))["values"] for one in verdicts] == [
        pytest.approx(learnt), pytest.approx(difference),
    ]  # fmt: skip
    first, second = Page((folder / "report.html").read_text()).tables[:2]
    assert [row[0] for row in first[1:]] == [one["verdict"] for one in verdicts]
    assert first[1][3:] == ["at least 20", shown(learnt, "training accuracy")]
    assert first[2][3:] == ["at least -5", shown(difference, "training accuracy")]
    rows = table(folder / "report" / "published.csv")
    for row, cells, values, paper in zip(rows, second[1:], (true, random), (30, 10), strict=True):
        error = fmean(values["test error"])
        assert float(row["ours"]) == pytest.approx(error)
        within = abs(error - paper) <= float(row["tolerance"])
        assert cells[5] == row["verdict"] == ("holds" if within else "does not hold")
        ours = shown(values["test error"], "test error")
        assert cells[2:5] == [ours, f"{paper} ± {float(row['tolerance']):g}", f"{error - paper:+.3g}"]


def test_curves_are_the_metrics_of_the_runs(folder: Path) -> None:
    """Every point of every run is in the figure's table."""
    found = {
        (row["line"], row["seed"], int(row["epoch"])): float(row["training loss"]) for row in figure(folder, "curves")
    }
    wanted = {
        (labels, seed, epoch): value
        for labels in ("true", "0.5", "random")
        for seed in ("0", "1")
        for epoch, value in column(folder / f"1__{labels}__{seed}", "train/loss").items()
    }
    assert found == wanted


def test_points_are_means_and_intervals_and_the_papers_numbers(folder: Path) -> None:
    """Labels without a place are not drawn."""
    ours = [row for row in figure(folder, "points") if row["line"] == "1"]
    places = {0.0: "true", 0.5: "0.5", 1.0: "random"}
    assert [float(row["labels"]) for row in ours] == list(places)
    for row in ours:
        values = by_hand(folder, "1", places[float(row["labels"])])["test error"]
        assert float(row["test error"]) == pytest.approx(fmean(values))
        assert float(row["margin"]) == pytest.approx(margin_of(values, "test error"))


def test_layers_and_profiles_are_the_probes_of_the_runs(folder: Path) -> None:
    """Means over seeds, at every probed epoch, and at the first and last."""
    for kind in ("layers", "profile"):
        rows = figure(folder, kind)
        found = {
            (row["line"], row["layer"], row.get("epoch") or row.get("state")): float(row["separability"])
            for row in rows
        }
        assert len(found) == len(rows)
        wanted = {}
        for labels in ("true", "0.5", "random"):
            for epoch, state in ((0, "untrained"), (3, "trained")):
                tables = [accuracies(run, epoch) for run in runs_of(folder, "1", labels)]
                for layer in tables[0]:
                    key = (labels, layer, str(epoch) if kind == "layers" else state)
                    wanted[key] = fmean(one[layer] for one in tables)
        assert found == pytest.approx(wanted)


def test_heat_maps_have_their_numbers_under_the_mouse(folder: Path) -> None:
    """A cell for every number in the figure's table; other figures are pictures."""
    text = (folder / "report.html").read_text()
    rows = figure(folder, "layers")
    assert text.count("<title>") == len(rows) + 1  # and the page's own
    row = rows[-1]
    told = f"{row['layer']}, epoch {row['epoch']}: {float(row['separability']):.0f} (separability, %)"
    assert f"<title>{told}</title>" in text
    assert text.count("<img") == len(FIGURES) - 1


def figure(folder: Path, name: str) -> Rows:
    """The numbers of a figure."""
    return table(folder / "report" / f"{name}.csv")


def test_figures_are_pictures(folder: Path) -> None:
    """PNG and PDF, large enough to be read."""
    for name in FIGURES:
        with Image.open(folder / "report" / f"{name}.png") as picture:
            picture.verify()
            assert min(picture.size) > 300
        assert (folder / "report" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
    assert not list(folder.rglob("*.part"))


def test_a_report_written_again_is_the_same(folder: Path, copied: Path) -> None:
    """To the byte, but for the place of the runs; also from within the folder, as `.`."""
    main_page = (folder / "report.html").read_text()
    write_report(copied)
    assert (copied / "report.html").read_text().replace(str(copied), str(folder)) == main_page
    for file in (folder / "report").glob("*.csv"):
        assert (copied / "report" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_a_report_from_within_the_folder(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as `.`, or moved under another name."""
    monkeypatch.chdir(copied)
    assert "7 of 7 runs finished" in write_report(Path("."))
    moved = copied.parents[1] / "elsewhere"
    copied.rename(moved)
    assert "7 of 7 runs finished" in write_report(moved)


def test_without_half_of_the_runs_there_is_a_page(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what is there; what is missing, unfinished or damaged does not count."""
    shutil.rmtree(copied / "1__true__1")
    for name in ("1__random__0", "1__random__1"):
        shutil.rmtree(copied / name)
    record = json.loads((copied / "2__true__0" / "run.json").read_text())
    (copied / "2__true__0" / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    (copied / "1__0.5__1" / "metrics.csv").write_text("epoch,step\n1\n")
    main(["report", str(copied)])
    assert "2 of 7 runs finished" in capsys.readouterr().out
    page = Page((copied / "report.html").read_text())
    rows = page.tables[-1][1:]
    assert [row[:3] for row in rows] == [[*group, n] for group, n in zip(GROUPS, ["1", "1", "0", "0"], strict=True)]
    assert rows[0][4] == shown(by_hand(copied, "1", "true")["training accuracy"], "training accuracy")
    assert set(rows[2][3:]) == {"-"}
    assert [row[0] for row in page.tables[0][1:]] == ["incomplete", "no data"]
    assert [row[5] for row in page.tables[1][1:]] == ["incomplete", "no data"]


def test_an_empty_folder_gives_a_page(copied: Path) -> None:
    """Without any number, and all figures say so."""
    for run in copied.iterdir():
        if run.is_dir():
            shutil.rmtree(run)
    assert "0 of 7 runs finished" in write_report(copied)
    page = Page((copied / "report.html").read_text())
    assert [row[0] for row in page.tables[0][1:]] == ["no data", "no data"]
    assert all((copied / "report" / f"{name}.png").is_file() for name in FIGURES)
    assert figure(copied, "curves") == []


@pytest.mark.usefixtures("no_figures")
def test_a_smaller_scale_says_so(copied: Path) -> None:
    """Beside the title and on every figure; nothing is held against the paper."""
    half = copied.with_name("half")
    copied.rename(half)
    plan = json.loads((half / "experiment.json").read_text())
    (half / "experiment.json").write_text(json.dumps({**plan, "scale": "half"}))
    assert write_report(half).startswith("Tiny (scale half: without random labels): 3 of 3 runs finished")
    text = (half / "report.html").read_text()
    assert "<b>Not the paper's experiment</b>, but a smaller one: scale half: without random labels." in text
    assert [row[5] for row in Page(text).tables[1][1:]] == ["not comparable", "no data"]


def test_verdicts_are_json_for_everybody() -> None:
    """Which has neither NaN nor infinity: null stands for them."""
    never = Estimate((Reading(math.inf, range=(3, math.inf)), Reading(2.0)))
    unknown = Estimate((Reading(0.5, sampling=(math.nan, math.nan)),))
    row = _verdict_row(Verdict(Claim("So", "a"), "unclear", {"never": never, "unknown": unknown}))
    assert json.loads(json.dumps(row, allow_nan=False))["numbers"] == {
        "never": {"values": [None, 2.0], "mean": None, "low": 2.0, "high": None},
        "unknown": {"values": [0.5], "mean": 0.5, "low": None, "high": None},
    }


@pytest.mark.parametrize("plan", [None, "", "{}", "[]", '{"experiment": "none.yaml", "scale": "full"}'])
def test_what_is_no_experiments_folder_is_refused(plan: str | None, tmp_path: Path) -> None:
    """In one line."""
    if plan is not None:
        (tmp_path / "experiment.json").write_text(plan)
    with pytest.raises(Refused, match=r"has no runs of an experiment|no experiment none\.yaml"):
        write_report(tmp_path)
