"""What is wrong with an experiment, said before its first run: names that mean nothing, bounds that could not fail."""

import re
from difflib import get_close_matches
from typing import Any

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import (
    BARRIER,
    COMMANDS,
    CORRELATIONS,
    KINDS,
    OF_COLUMNS,
    OF_LAYERS,
    SEED,
    TAKES,
    TRAIN,
    Experiment,
    Figure,
    Quantity,
    Where,
    place_of,
)
from stratoscope.files.table import COLUMNS
from stratoscope.results.record import OURS, falls


def check_experiment(experiment: Experiment, where: str) -> None:
    """Look for names that mean nothing, and for what would stop a verdict or a drawing after all runs.

    Args:
        experiment: The experiment, whose values are of the right types.
        where: Its file, for messages.

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
    parts = [("options", experiment.options)]
    parts += [(f"axes: {axis}: {label}", o) for axis, by in experiment.axes.items() for label, o in by.items()]
    for scale_name, scale in experiment.scales.items():
        parts.append((f"scales: {scale_name}: options", scale.options))
        for axis, by in scale.axes.items():
            parts += [(f"scales: {scale_name}: {axis}: {label}", options) for label, options in by.items()]
    for place, options in parts:
        if "command" in (options or {}):
            known(options["command"], COMMANDS, "command", place)
    for name, size in experiment.samples.items():
        if size < 1:
            raise Refused(f"{where}: samples: {name} must be 1 or more, got {size}")
    for block in experiment.runs:
        labels(block, "runs")
        for axis in experiment.axes:
            known(axis, block, "labels for axis", "runs")
    for name, quantity in experiment.quantities.items():
        known(quantity.take, sorted(TAKES), "way to take", f"quantities: {name}")
        if sum(map(bool, (quantity.metric, quantity.probe, quantity.column))) != 1:
            raise Refused(f"{where}: quantities: {name} needs metric, probe or column, one of them")
        if quantity.column:
            _check_column(name, quantity, where)
        elif quantity.where or quantity.take == BARRIER:
            key = "where" if quantity.where else f"take: {BARRIER}"
            raise Refused(f"{where}: quantities: {name}: {key} is for a column of a table")
        if quantity.probe and len(quantity.probe.split()) < 2:
            raise Refused(
                f"{where}: quantities: {name}: probe must be a label kind and a split, such as true_label test"
            )
        of = quantity.metric or quantity.column
        if quantity.exact and (quantity.probe or "acc" in of or of.endswith("loss")):
            others = "metrics other than accuracies, losses and probes, whose error is known"
            raise Refused(f"{where}: quantities: {name}: exact is for {others}")
        if quantity.take in OF_LAYERS and not quantity.probe:
            raise Refused(f"{where}: quantities: {name}: {quantity.take} needs a probe")
        if not quantity.probe and quantity.value != "accuracy":
            raise Refused(f"{where}: quantities: {name}: value is of a probe: give column alone, or metric")
        if quantity.metric and quantity.table != "probes":
            raise Refused(f"{where}: quantities: {name}: table is of a probe or column: metric has none")
        if quantity.probe and quantity.table.startswith(("probes", "online_probes")):
            known(quantity.value, sorted(COLUMNS), "column", f"quantities: {name}")
        if quantity.take == "behind_best" and falls(quantity.value):
            raise Refused(f"{where}: quantities: {name}: behind_best needs a value of which the largest is best")
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
        for selection in (claim.of, claim.minus, claim.over, claim.against_of):
            labels(selection, f"claims: {claim.text}")
        if claim.each:
            known(claim.each, experiment.axes, "axis", f"claims: {claim.text}")
        if claim.correlation:
            known(claim.correlation, CORRELATIONS, "correlation", f"claims: {claim.text}")
            known(claim.against, experiment.quantities, "quantity", f"claims: {claim.text}: against")
            relative = claim.minus is not None or claim.over is not None or claim.chance is not None
            if relative or claim.quantity == claim.against:
                raise Refused(
                    f"{where}: claims: {claim.text}: a correlation is of two quantities as they are, with bounds"
                )
            several = [x for x in (claim.against_of or {}).values() if isinstance(x, list) or x == "all"]
            if several or claim.each == SEED or claim.against_of == {}:
                wrong = f"each cannot be {SEED}" if claim.each == SEED else "against_of names one label of each axis"
                raise Refused(f"{where}: claims: {claim.text}: {wrong}")
            for judged in (claim.quantity, claim.against):
                if experiment.quantities[judged].take == "best_layer":
                    raise Refused(f"{where}: claims: {claim.text}: {judged} is no number, and so correlates with none")
        elif claim.against or claim.against_of is not None or claim.each:
            raise Refused(f"{where}: claims: {claim.text}: against, against_of and each are for a correlation")
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
        labels(figure.against_of, f"figures: {name}")
        for axis in (figure.lines, figure.x if figure.kind not in OF_COLUMNS else ""):
            if axis:
                known(axis, experiment.axes, "axis", f"figures: {name}")
        for key, column in (("x", figure.x), ("y", figure.y)):
            if figure.kind in OF_COLUMNS and column:
                known(column, COLUMNS, "column", f"figures: {name}: {key}")
        for key, second in (("second", figure.second), ("against", figure.against)):
            if second:
                known(second, experiment.quantities, "quantity", f"figures: {name}: {key}")
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
    if not at_one or bounded or (quantity.metric and "acc" not in metric) or quantity.value != "accuracy":
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


def _check_column(name: str, quantity: Quantity, where: str) -> None:
    """Look whether a column can be read.

    Raises:
        Refused: If there is no such column, or it is no value.
    """
    place = f"{where}: quantities: {name}"
    for column in (quantity.column, *quantity.where):
        if column not in COLUMNS and quantity.table.startswith(OURS):
            close = get_close_matches(column, COLUMNS, n=1)
            raise Refused(f"{place}: no column {column}{f'; did you mean {close[0]}?' if close else ''}")
    if quantity.column in COLUMNS and COLUMNS[quantity.column].says == "what":
        raise Refused(f"{place}: {quantity.column} is no value: it tells what a row is about, give it in where")
    if any(isinstance(wanted, list | dict) for wanted in quantity.where.values()):
        raise Refused(f"{place}: where has one value for each column")
    if "epoch" in quantity.where:
        raise Refused(f"{place}: give at_epoch, not an epoch in where")
    if quantity.take == BARRIER and (quantity.column != "loss" or quantity.error or quantity.percent):
        raise Refused(f"{place}: barrier is of the column loss, in nats")


def _check_keys(place: str, figure: Figure, experiment: Experiment) -> None:
    """Look whether a figure has what its kind needs, and nothing that its kind does not show.

    Raises:
        Refused: If not.
    """
    needs = {"lines": ["x"], "density": ["x"], "map": ["x", "y"], "scatter": ["against"]}.get(figure.kind, [])
    takes = {"lines": {"second"}, "map": {"marks"}, "scatter": {"against_of"}, "points": {"x", "over"}}
    given = {key for key in ("x", "y", "second", "against", "against_of", "marks", "over") if getattr(figure, key)}
    if missing := [key for key in needs if key not in given]:
        raise Refused(f"{place}: {figure.kind} needs {' and '.join(missing)}")
    if extra := sorted(given - {*needs} - takes.get(figure.kind, set())):
        raise Refused(f"{place}: {figure.kind} has no {', '.join(extra)}")
    for name in filter(None, (figure.quantity, figure.second)):
        if figure.kind in OF_COLUMNS and not experiment.quantities[name].column:
            raise Refused(f"{place}: {figure.kind} needs a quantity that is a column of a table, {name} is none")
    numbers = [key for key in ("x", "y") if figure.kind in OF_COLUMNS and getattr(figure, key)]
    for key in numbers:
        if COLUMNS[column := getattr(figure, key)].kind not in {int, float}:
            raise Refused(f"{place}: {key}: {column} is no number")
    if figure.kind == "map" and figure.x == figure.y:
        raise Refused(f"{place}: x and y are the same column, {figure.x}")
    if figure.second and experiment.quantities[figure.second].table != experiment.quantities[figure.quantity].table:
        raise Refused(f"{place}: second must be of the same table as {figure.quantity}")
    for axis, labels in experiment.axes.items() if figure.kind in OF_COLUMNS else ():
        chosen = figure.of.get(axis, "all")
        many = len(labels) if chosen == "all" else len(chosen) if isinstance(chosen, list) else 1
        if many > 1 and axis not in {SEED, figure.lines}:
            raise Refused(f"{place}: {figure.kind} is of one label of {axis}: give it in of, or lines: {axis}")
    for name, at in figure.marks.items():
        if len(at) != 2:
            raise Refused(f"{place}: marks: {name} must be [x, y], got {at}")
    for name in filter(None, (figure.quantity, figure.against)):
        if figure.kind == "scatter" and experiment.quantities[name].take == "best_layer":
            raise Refused(f"{place}: {name} is no number")


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
    _check_keys(place, figure, experiment)
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
            raise Refused(f"{place}: {label} is not a number, and places does not say where it stands") from None
