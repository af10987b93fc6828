"""The table in docs/reference/experiments.md of how the bounds of the shipped experiments were chosen: prints it.

python scripts/bounds.py
"""

from collections.abc import Iterator

from stratoscope.experiments.experiment import Claim
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.experiments.quantities import brief


def table() -> str:
    """One row for every claim: the claim, what is published, its bounds, and how they were chosen."""
    heads = ["experiment", "claim", "published", "must be", "how chosen"]
    rows = [heads, ["---"] * len(heads), *_rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def bounds(claim: Claim, unit: str) -> str:
    """The bounds of a claim in short."""
    if claim.chance is not None:
        return f"{brief(claim.chance)}{unit}, as by chance; {brief(claim.within or 0)} away is found"
    low, high = claim.at_least, claim.at_most
    if low is not None and high is not None:
        return f"{brief(low)} to {brief(high)}{unit}"
    return f"at least {brief(low)}{unit}" if low is not None else f"at most {brief(high or 0.0)}{unit}"


def _rows() -> Iterator[list[str]]:
    for name in experiment_names():
        experiment = read_experiment(name)
        for place, claim in enumerate(experiment.claims):
            unit = experiment.quantities[claim.quantity].unit
            unit = "" if claim.over is not None or claim.correlation else f" {unit}" if unit else ""
            published = ", ".join(map(brief, claim.paper)) or "-"
            scale = " (full scale)" if claim.full_scale else ""
            yield [f"`{name}`" * (not place), claim.text, published, f"{bounds(claim, unit)}{scale}", claim.basis]


if __name__ == "__main__":
    print(table())
