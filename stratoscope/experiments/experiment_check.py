"""What is wrong with an experiment, said before its first run: names that mean nothing, bounds that could not fail."""

import re
from difflib import get_close_matches
from typing import Any

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import (
    COMMANDS,
    KINDS,
    OF_LAYERS,
    SEED,
    TAKES,
    TRAIN,
    Experiment,
    Figure,
    Where,
    place_of,
)
from stratoscope.files.table import COLUMNS
from stratoscope.results.record import falls


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
        if not quantity.probe and (quantity.table, quantity.value) != ("probes", "accuracy"):
            raise Refused(f"{where}: quantities: {name}: table and value are of a probe: metric has neither")
        if quantity.table.startswith(("probes", "online_probes")):
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
            raise Refused(f"{place}: {label} is not a number, and places does not say where it stands") from None
