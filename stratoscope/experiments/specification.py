"""What an experiment is, and the file it is read from: `configs/experiments/<paper>/<figure>.yaml`.

The file says everything before the first run: which runs, what is read off them, the published numbers, the claims and
the bounds that decide on them, and the figures. `docs/experiments.md` explains it by an example.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import stratoscope
from stratoscope.arguments import ANCHORS, doubled_key
from stratoscope.bounded_files import read_text, yaml_value
from stratoscope.refusal import Refused

Options = dict[str, Any]  # of `stratoscope fit`, without the two dashes
Where = dict[str, Any]  # labels of runs, by axis: one or a list of them
SEED = "seed"  # the axis whose runs are repetitions of each other
FULL = "full"
TRAIN = "train"  # the set


@dataclass(frozen=True)
class Scale:
    """A smaller version of an experiment.

    Attributes:
        note: What is smaller, in words that stand beside every number.
        options: Options that all runs have instead, or besides.
        axes: Options that runs of one label have instead, or besides, by axis and label.
        only: The labels that are left, by axis.
    """

    note: str
    options: Options = field(default_factory=dict)
    axes: dict[str, dict[Any, Options]] = field(default_factory=dict)
    only: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantity:
    """One number of a run.

    Attributes:
        metric: Column of `metrics.csv`.
        probe: Label kind and split of `probes.csv` instead, such as `true_label test`; the layer may follow, otherwise
            it is the best one.
        take: first, last, max or min over epochs; `gain`, the last less the first; `fall`, the largest
            less the last; `best_layer`, the name of the layer in which a probe is best at the last epoch;
            `rank_correlation`, Spearman's, between the places of the layers and their values at the last epoch: 1 if
            each is above the one before; `behind_best`, the value of the layers named at the last epoch less that of
            the best of all layers, 0 if it is theirs.
        at_epoch: Take the value of this epoch instead.
        at_least: Give the first epoch at which the metric is at least this instead.
        at_most: Or at most this.
        percent: Whether it is a share to be given in percent.
        error: Whether to give 1 minus it.
        exact: Whether a metric is no mean over samples, so that there is no error of a test set: a count, a time.
        unit: Its unit, for axes and tables.
    """

    metric: str = ""
    probe: str = ""
    take: str = "last"
    at_epoch: int | None = None
    at_least: float | None = None
    at_most: float | None = None
    percent: bool = False
    error: bool = False
    exact: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement that the runs bear out, or not.

    Attributes:
        text: The statement, as the paper or the researcher makes it.
        quantity: Name of the quantity.
        of: The runs it is about.
        minus: Runs whose quantity is subtracted.
        over: Runs whose quantity it is divided by.
        at_least: Lower bound; every group of runs must keep it.
        at_most: Upper bound.
        chance: Instead of bounds: the value of guessing, which no network may differ from.
        within: With it: how far from it a network must be for the test set to find it out.
        source: Who says so, and where.
        full_scale: Whether its bounds mean something at full scale only.
        paper: What the source gives for it, in the quantity's unit: one number, or several for several groups.
        basis: How the bounds were chosen.
    """

    text: str
    quantity: str
    of: Where = field(default_factory=dict)
    minus: Where | None = None
    over: Where | None = None
    at_least: float | None = None
    at_most: float | None = None
    chance: float | None = None
    within: float | None = None
    source: str = ""
    full_scale: bool = False
    paper: list[float] = field(default_factory=list)
    basis: str = ""


@dataclass(frozen=True)
class Published:
    """A number of the paper.

    In a file, a whole series can be one entry: instead of `value` it has `along`, an axis, and `values` by its labels.

    Attributes:
        quantity: Name of the quantity.
        of: The runs it is about.
        value: The number, in the quantity's unit.
        tolerance: How far from it ours may be.
        chance: Instead: the value of guessing, if the paper's number is a guesser's and ours has to be one too.
        source: Where it stands, and how it was read.
        over: Runs whose quantity it is divided by.
    """

    quantity: str
    of: Where
    value: float
    tolerance: float | None = None
    chance: float | None = None
    source: str = ""
    over: Where | None = None

    def over_axes(self) -> set[str]:
        """Axes on which the runs it is divided by differ from it."""
        return {axis for axis, label in (self.over or {}).items() if self.of.get(axis) != label}


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        kind: `curves` (a quantity's metric over epochs), `points` (a quantity over an axis), `layers` (heat maps of a
            probe, layers by epochs), `profile` (a probe over the layers, at the first and the last epoch).
        title: Its title.
        quantity: Name of the quantity.
        of: The runs in it.
        lines: Axis that tells its lines, or maps, apart.
        x: Axis on the abscissa of `points`.
        places: Where labels of x stand, if they are no numbers.
        over: Runs whose quantity every point is divided by.
        log: Whether the ordinate is logarithmic.
        caption: A sentence below.
    """

    kind: str
    title: str
    quantity: str
    of: Where = field(default_factory=dict)
    lines: str = ""
    x: str = ""
    places: dict[Any, float] = field(default_factory=dict)
    over: Where | None = None
    log: bool = False
    caption: str = ""


@dataclass(frozen=True)
class Experiment:
    """A figure or table of a paper, or a question of one's own.

    Attributes:
        title: Its title.
        source: The paper, or whose question it is.
        axes: Options of `fit` for every label of every axis. The axis `seed` holds repetitions.
        runs: Blocks of runs: for every axis the labels (`all` for all of them), of which each combination is a run.
        options: Options of `fit` that all runs have.
        quantities: What is read off a run, by name.
        published: The paper's numbers.
        claims: Statements to be judged.
        figures: Pictures, by name.
        table: Quantities of the table of all runs; the default is all of them.
        scales: Smaller versions, by name.
        note: A sentence for whoever reads the report.
        samples: Sizes of test sets, by name, where runs do not say them: for data of one's own.
        command: `fit`, or `validate` for networks whose given weights are probed as they are.
        name: `<paper>/<figure>`; from the file's place (`name_of`).
    """

    title: str
    source: str
    axes: dict[str, dict[Any, Options]]
    runs: list[Where]
    options: Options = field(default_factory=dict)
    quantities: dict[str, Quantity] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    table: list[str] = field(default_factory=list)
    scales: dict[str, Scale] = field(default_factory=dict)
    note: str = ""
    samples: dict[str, int] = field(default_factory=dict)
    command: str = "fit"
    name: str = ""


KINDS = {"curves", "points", "layers", "profile"}
TAKES = {"first", "last", "max", "min", "gain", "fall", "best_layer", "rank_correlation", "behind_best"}
OF_LAYERS = {"best_layer", "rank_correlation", "behind_best"}
COMMANDS = ("fit", "validate")


def experiments_folder() -> Path:
    """Where the experiments that come with the package are."""
    root = Path(stratoscope.__file__).resolve().parent  # a wheel, or else a clone
    return next((one for one in (root, root.parent) if (one / "configs").is_dir()), root) / "configs" / "experiments"


def experiment_names() -> list[str]:
    """Names of the experiments that come with the package."""
    folder = experiments_folder()
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.glob("*/*.yaml"))


def file_of(name: str) -> Path:
    """The file of an experiment.

    Args:
        name: `<paper>/<figure>` of one that comes with the package, or a file.
    """
    return Path(name) if name.endswith((".yaml", ".yml")) else experiments_folder() / f"{name}.yaml"


def read_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: `<paper>/<figure>` of one that comes with the package, or a file.

    Raises:
        Refused: If there is none, or it is not what it should be.
    """
    file = file_of(name)
    if not file.is_file():
        close = get_close_matches(name, experiment_names(), n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(experiment_names())}"
        raise Refused(f"no experiment {name}{hint}")
    try:
        text = read_text(file)
        if twice := doubled_key(text):
            raise Refused(f"{file}: {twice}")
        content = yaml_value(text)
    except ValueError as error:
        raise Refused(f"{file} is no valid YAML: {error}") from error
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if not str(key).startswith(ANCHORS)}
    if isinstance(content, dict) and isinstance(content.get("published"), list):
        content["published"] = [one for entry in content["published"] for one in _series(entry)]
    experiment: Experiment = _made(Experiment, content, str(file), name=name_of(file))
    _check(experiment, str(file))
    return experiment


def name_of(file: Path) -> str:
    """The name of an experiment, `<folder>/<file>`, from its true place: the same however it was typed.

    Args:
        file: Its file.
    """
    parts = file.resolve().with_suffix("").parts[-2:]
    return "/".join(filter(None, (re.sub(r"[^\w.+-]+", "-", part).strip("-.") for part in parts)))


def _series(entry: Any) -> list[Any]:
    """The numbers of a series; anything else as it is."""
    if not isinstance(entry, dict) or not {"along", "values"} <= entry.keys() or not isinstance(entry["values"], dict):
        return [entry]
    rest = {key: value for key, value in entry.items() if key not in {"along", "values"}}
    of = rest.get("of") or {}
    return [{**rest, "of": {**of, entry["along"]: label}, "value": value} for label, value in entry["values"].items()]


def _made(kind: type[Any], content: Any, where: str, **more: Any) -> Any:
    """A dataclass from a mapping, with the dataclasses in it.

    Raises:
        Refused: If a key is unknown or missing, or a value is of another type.
    """
    if not isinstance(content, Mapping):
        raise Refused(f"{where} must have keys and values, got {content!r}")
    content = {key: value for key, value in content.items() if value is not None}  # a key without a value is not there
    known = {part.name: part for part in fields(kind)}
    for key in content:
        if key not in known or key in more:
            close = get_close_matches(str(key), known, n=1)
            raise Refused(f"{where}: no key {key}" + (f"; did you mean {close[0]}?" if close else ""))
    for name, part in known.items():
        if part.default is MISSING and part.default_factory is MISSING and name not in {**content, **more}:
            raise Refused(f"{where}: {name} is missing")
    for name, wanted in get_type_hints(kind).items():
        if name in content and not _fits(content[name], wanted):
            raise Refused(f"{where}: {name} must be {_told(wanted)}, got {content[name]!r}"[:300])
    inner = {"quantities": Quantity, "figures": Figure, "scales": Scale, "published": Published, "claims": Claim}
    values: dict[str, Any] = {}
    for key, value in content.items():
        inside = inner.get(key) if kind is Experiment else None
        if inside and isinstance(value, Mapping):
            values[key] = {name: _made(inside, one, f"{where}: {key}: {name}") for name, one in value.items()}
        elif inside:
            values[key] = [_made(inside, one, f"{where}: {key}, entry {i}") for i, one in enumerate(value, 1)]
        else:
            values[key] = value
    return kind(**values, **more)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of the type a field has; where options may be, there may be nothing."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin is UnionType:
        return any(_fits(value, one) for one in inside)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, inside[0]) and (_fits(one, inside[1]) or (one is None and inside[1] == Options))
            for key, one in value.items()
        )
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inside[0]) for one in value)
    if is_dataclass(wanted):
        return True  # is looked at when it is made
    number = isinstance(value, int) and not isinstance(value, bool)
    return number if wanted is int else number or isinstance(value, float) if wanted is float else type(value) is wanted


def _told(wanted: Any) -> str:
    """A field's type in words."""
    origin, inside = get_origin(wanted), [one for one in get_args(wanted) if one is not NoneType]
    if origin is UnionType:
        return " or ".join(map(_told, inside))
    if origin is list:
        return "a list" if inside == [Any] else f"a list of {_told(inside[0])}"
    if origin is dict or is_dataclass(wanted):
        return "keys and values" + (f", each of them {_told(inside[1])}" if inside and inside[1] is not Any else "")
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[wanted]


def _check(experiment: Experiment, where: str) -> None:
    """Look for names that mean nothing.

    Raises:
        Refused: If there is one.
    """

    def known(name: Any, names: Any, what: str, place: str) -> None:
        among = list(names)
        if name not in among:  # in a list, whatever it is
            close = get_close_matches(str(name), map(str, among), n=1)
            there = f"; there are {', '.join(map(str, among))}"
            meant = next((f"; did you mean {one!r}?" for one in among if str(one) in close), there)
            raise Refused(f"{where}: {place}: no {what} {name!r}{meant}")

    def labels(selection: Where | None, place: str) -> None:
        for axis, chosen in (selection or {}).items():
            known(axis, experiment.axes, "axis", place)
            for label in chosen if isinstance(chosen, list) else [chosen]:
                if label != "all":
                    known(label, experiment.axes[axis], f"label of {axis}", place)

    known(experiment.command, COMMANDS, "command", "command")
    for name, size in experiment.samples.items():
        if size < 1:
            raise Refused(f"{where}: samples: {name} must be 1 or more, got {size}")
    for block in experiment.runs:
        labels(block, "runs")
        for axis in experiment.axes:
            known(axis, block, "labels for axis", "runs")
    for name, quantity in experiment.quantities.items():
        known(quantity.take, sorted(TAKES), "way to take", f"quantities: {name}")
        if bool(quantity.metric) == bool(quantity.probe):
            raise Refused(f"{where}: quantities: {name} needs either metric or probe")
        if quantity.probe and len(quantity.probe.split()) < 2:
            raise Refused(
                f"{where}: quantities: {name}: probe must be a label kind and a split, such as true_label test"
            )
        if quantity.exact and (quantity.probe or "acc" in quantity.metric or quantity.metric.endswith("loss")):
            others = "metrics other than accuracies, losses and probes, whose error is known"
            raise Refused(f"{where}: quantities: {name}: exact is for {others}")
        if quantity.take in OF_LAYERS and not quantity.probe:
            raise Refused(f"{where}: quantities: {name}: {quantity.take} needs a probe")
        if quantity.take == "behind_best" and len(quantity.probe.split()) < 3:
            raise Refused(f"{where}: quantities: {name}: behind_best needs a probe with layers, true_label test conv2")
    for judged in [one.quantity for one in experiment.claims] + [one.quantity for one in experiment.published]:
        if judged in experiment.quantities and experiment.quantities[judged].take == "best_layer":
            raise Refused(f"{where}: {judged} is the name of a layer, which no claim can be about")
    for claim in experiment.claims:
        known(claim.quantity, experiment.quantities, "quantity", f"claims: {claim.text}")
        for other in (claim.minus, claim.over):
            if other is not None and (
                not other or other == claim.of or any(isinstance(x, list) or x == "all" for x in other.values())
            ):
                raise Refused(f"{where}: claims: {claim.text}: minus and over name one label of each axis they name")
        for selection in (claim.of, claim.minus, claim.over):
            labels(selection, f"claims: {claim.text}")
        bounded = claim.at_least is not None or claim.at_most is not None
        if claim.chance is None and not bounded:
            raise Refused(f"{where}: claims: {claim.text}: needs at_least or at_most, or it could not fail")
        if (claim.chance is None) != (claim.within is None) or (claim.chance is not None and bounded):
            raise Refused(f"{where}: claims: {claim.text}: needs chance and within, or bounds, not both")
        if claim.chance is not None and (claim.minus is not None or claim.over is not None or not claim.within):
            raise Refused(f"{where}: claims: {claim.text}: chance is for a quantity of its own, within above 0")
        if claim.chance is not None:
            _check_chance(experiment, claim.quantity, claim.chance, claim.within, f"{where}: claims: {claim.text}")
    for number in experiment.published:
        known(number.quantity, experiment.quantities, "quantity", "published")
        labels(number.of, "published")
        labels(number.over, "published")
        if (number.tolerance is None) == (number.chance is None):
            raise Refused(f"{where}: published: {number.quantity}: needs tolerance or chance, one of them")
        if number.chance is not None:
            _check_chance(experiment, number.quantity, number.chance, None, f"{where}: published: {number.quantity}")
    for name, figure in experiment.figures.items():
        known(figure.kind, sorted(KINDS), "kind", f"figures: {name}")
        known(figure.quantity, experiment.quantities, "quantity", f"figures: {name}")
        labels(figure.of, f"figures: {name}")
        for axis in (figure.lines, figure.x):
            if axis:
                known(axis, experiment.axes, "axis", f"figures: {name}")
        _check_figure(experiment, name, figure, where)
    for name in experiment.table:
        known(name, experiment.quantities, "quantity", "table")
    for scale_name, scale in experiment.scales.items():
        for axis, chosen in [*scale.axes.items(), *scale.only.items()]:
            labels({axis: list(chosen)}, f"scales: {scale_name}")


def _check_chance(experiment: Experiment, name: str, chance: float, within: float | None, place: str) -> None:
    """Look whether a quantity counts samples, so that it can be compared with chance.

    Raises:
        Refused: If it is not an accuracy, or error, of a test set at one epoch, or chance is no share, or nothing is as
            far from it as a network has to be.
    """
    quantity = experiment.quantities[name]
    at_one = quantity.at_epoch is not None or quantity.take in {"first", "last"}
    bounded = quantity.at_least is not None or quantity.at_most is not None
    split, _, metric = quantity.metric.rpartition("/")
    if not at_one or bounded or (quantity.metric and "acc" not in metric):
        raise Refused(f"{place}: chance needs an accuracy, or error, at one epoch: take first, last or at_epoch")
    labels_split_layers = quantity.probe.split()
    if quantity.probe and len(labels_split_layers) != 3:
        raise Refused(
            f"{place}: chance needs the probe of one layer, true_label test conv2: the best of all is no guess"
        )
    if TRAIN in (split, *labels_split_layers[1:2]):
        raise Refused(f"{place}: chance needs a test set: what was trained on is no sample")
    whole = 100 if quantity.percent else 1
    if not 0 < chance < whole:
        raise Refused(f"{place}: chance must be between 0 and {whole}, got {chance}")
    if within is not None and not (0 <= chance - within or chance + within <= whole):
        raise Refused(
            f"{place}: within {within} of chance, {chance}, there is all from 0 to {whole}: no network is farther"
        )


def place_of(label: Any, figure: Figure) -> float:
    """Where a label stands on the abscissa.

    Args:
        label: Of the figure's axis x.
        figure: The figure.

    Raises:
        ValueError: If it is no number, and the figure does not say.
    """
    place: Any = figure.places.get(label, label)
    return float(place)


def _check_figure(experiment: Experiment, name: str, figure: Figure, where: str) -> None:
    """Look for what would stop the drawing, after all runs.

    Raises:
        Refused: If there is anything.
    """
    place, quantity = f"{where}: figures: {name}", experiment.quantities[figure.quantity]
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise Refused(f"{place}: the name is a file's: it must be letters, digits, '_' and '-'")
    if figure.kind in {"layers", "profile"} and not quantity.probe:
        raise Refused(f"{place}: {figure.kind} needs a quantity with a probe, {figure.quantity} has none")
    if figure.kind != "points":
        return
    if not figure.x or quantity.take == "best_layer":
        raise Refused(f"{place}: points needs {'a quantity that is a number' if figure.x else 'x'}")
    if figure.x == SEED:
        raise Refused(f"{place}: x must be another axis than {SEED}, whose runs are one point together")
    chosen = figure.of.get(figure.x, "all")
    labels = list(experiment.axes[figure.x]) if chosen == "all" else chosen if isinstance(chosen, list) else [chosen]
    for label in labels:
        try:
            place_of(label, figure)
        except (TypeError, ValueError):
            raise Refused(f"{place}: {label} is no number, and places does not say where it stands") from None
