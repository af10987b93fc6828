"""What an experiment is: its dataclasses, and the names that mean something in them."""

from dataclasses import dataclass, field
from typing import Any

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
        metric: Column of `metrics.csv`; or else there is a probe, or a column.
        probe: Label kind and split of a probe instead, such as `true_label test`; the layer may follow, otherwise it
            is the best one. `-` stands for what has no label kind, such as a rank.
        table: The table in which probe or column is: `probes`, `online_probes`, `probes_deep` of a LinearProbes called
            deep, `path`, ...
        value: What is taken of a probe: a column, or of the table `measures` a measure, such as `effective_rank`.
        take: first, last, max or min over epochs; `gain`, the last less the first; `fall`, the largest
            less the last; `best_layer`, the name of the layer in which a probe is best at the last epoch;
            `rank_correlation`, Spearman's, between the places of the layers and their values at the last epoch: 1 if
            each is above the one before; `behind_best`, the value of the layers named at the last epoch less that of
            the best of all layers, 0 if it is theirs; `barrier`, of the column `loss` of a path, the largest excess
            over what would be linear between its ends, at the last epoch.
        at_epoch: Take the value of this epoch instead.
        at_least: Give the first epoch at which the metric is at least this instead.
        at_most: Or at most this.
        percent: Whether it is a share to be given in percent.
        error: Whether to give 1 minus it.
        exact: Whether a metric is no mean over samples, so that there is no error of a test set: a count, a time.
        unit: Its unit, for axes and tables.
        column: Column of another table instead, such as `loss` of the table `path`.
        where: With it: the values that other columns must have, such as `{split: test}`; one row of every epoch is
            left then.
    """

    metric: str = ""
    probe: str = ""
    table: str = "probes"
    value: str = "accuracy"
    take: str = "last"
    at_epoch: int | None = None
    at_least: float | None = None
    at_most: float | None = None
    percent: bool = False
    error: bool = False
    exact: bool = False
    unit: str = ""
    column: str = ""
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement that the runs support, or not.

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
        correlation: Instead of the quantity itself: spearman or kendall, its rank correlation over all runs that are
            meant with another one.
        against: With it: the name of the other quantity.
        against_of: The runs that it is read off, if they are others: such that are the same in all that this selection
            leaves open.
        each: An axis: the correlation is that within each of its labels.
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
    correlation: str = ""
    against: str = ""
    against_of: Where | None = None
    each: str = ""

    @property
    def about(self) -> str:
        """What must be within the bounds, in words."""
        if not self.correlation:
            return self.quantity
        return f"{self.correlation.capitalize()}'s correlation of {self.quantity} with {self.against}"


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
            probe, layers by epochs), `profile` (a probe over the layers, at the first and the last epoch), `lines` (a
            column of a table over another, x), `scatter` (a quantity over another, run by run), `density` (as lines,
            with a logarithmic ordinate), `map` (contours of a column over two others, x and y).
        title: Its title.
        quantity: Name of the quantity.
        of: The runs in it.
        lines: Axis that tells its lines, or maps, apart.
        x: Axis on the abscissa of `points`; column on that of `lines`, `density` and `map`.
        y: Column on the ordinate of `map`.
        second: Name of another quantity, with an ordinate on the right, in `lines`.
        against: Name of the quantity on the abscissa of `scatter`.
        against_of: The runs it is read off, if they are others, see `Claim`.
        marks: Points in a `map`, by name: [x, y].
        places: Where labels of x stand, if they are no numbers.
        over: Runs whose quantity every point is divided by.
        log: Whether the ordinate, or the scale of contours, is logarithmic.
        caption: A sentence below.
    """

    kind: str
    title: str
    quantity: str
    of: Where = field(default_factory=dict)
    lines: str = ""
    x: str = ""
    y: str = ""
    second: str = ""
    against: str = ""
    against_of: Where | None = None
    marks: dict[str, list[float]] = field(default_factory=dict)
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
        axes: Options of `fit` for every label of every axis. The axis `seed` holds repetitions. The option `command` is
            that of the runs with the label, if it is another one than the experiment's: so there are steps that measure
            what others have trained.
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


KINDS = {"curves", "points", "layers", "profile", "lines", "scatter", "density", "map"}
OF_COLUMNS = {"lines", "density", "map"}
BARRIER = "barrier"
TAKES = {"first", "last", "max", "min", "gain", "fall", "best_layer", "rank_correlation", "behind_best", BARRIER}
OF_LAYERS = {"best_layer", "rank_correlation", "behind_best"}
COMMANDS = ("fit", "validate")
CORRELATIONS = ("spearman", "kendall")


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
