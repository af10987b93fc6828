"""How many times faster ours is than theirs: interleaved blocks in one process, the median ratio and its interval."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import comb
from statistics import median
from time import perf_counter, process_time


def median_interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Interval of a median that holds for every distribution: two order statistics, equally far from the ends.

    Args:
        values: One or more independent values.
        confidence: Wanted probability that the interval covers the median.

    Returns:
        The narrowest such interval's lower and upper end, and the probability that it covers the median: below the
        wanted one for fewer than 6 values at 95 %, where the interval is the whole range.

    Raises:
        ValueError: If there are no values.

    Source: David and Nagaraja 2003, Order Statistics, section 7.1.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("values must have one or more elements, got none")
    n = len(ordered)

    def coverage(left_out: int) -> float:
        return 1 - 2 * sum(comb(n, below) for below in range(left_out + 1)) * 0.5**n

    left_out = max((i for i in range((n - 1) // 2 + 1) if coverage(i) >= confidence), default=0)
    return ordered[left_out], ordered[n - 1 - left_out], max(0.0, coverage(left_out))


@dataclass(frozen=True)
class Ratio:
    """Times of two ways to do the same, of blocks that took turns.

    Args:
        theirs: Seconds of each of their blocks.
        ours: Seconds of each of our blocks.
        what: What was timed.
        at_least: The ratio wanted.
        steps: Steps in a block, by which the table divides the times.
    """

    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    what: str = ""
    at_least: float = 1.0
    steps: int = 1

    @property
    def ratios(self) -> list[float]:
        """Their seconds over ours, block by block: above 1 where ours is faster."""
        return [theirs / ours for theirs, ours in zip(self.theirs, self.ours, strict=True)]

    @property
    def median(self) -> float:
        """Median of the ratios."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the median, at 95 % where there are blocks enough."""
        return median_interval(self.ratios)[:2]

    @property
    def holds(self) -> bool:
        """Whether what is wanted is not refuted: false only where the whole interval lies below it."""
        return self.interval[1] >= self.at_least

    def of(self, what: str, at_least: float, steps: int = 1) -> "Ratio":
        """The same times with a name, the ratio wanted and the steps in a block."""
        return replace(self, what=what, at_least=at_least, steps=steps)


def compare(
    theirs: Callable[[], object],
    ours: Callable[[], object],
    blocks: int,
    clock: Callable[[], float] = process_time,
    warm: bool = True,
) -> Ratio:
    """Time blocks of both, taking turns after one of each to warm up; who goes first alternates too.

    Args:
        theirs: Runs one of their blocks.
        ours: Runs one of our blocks.
        blocks: Number of blocks of each.
        clock: Seconds: CPU time by default; on an accelerator one that waits for it (`clock_of`).
        warm: Whether the first block of each is not counted.

    Returns:
        The times.
    """
    if warm:
        theirs()
        ours()
    times: tuple[list[float], list[float]] = [], []
    for block in range(blocks):
        for which in (0, 1) if block % 2 == 0 else (1, 0):
            start = clock()
            (theirs, ours)[which]()
            times[which].append(clock() - start)
    return Ratio(tuple(times[0]), tuple(times[1]))


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of work on a device: CPU time of the process, or wall time once an accelerator has done it all.

    Args:
        device: cpu or cuda.
    """
    if device == "cpu":
        return process_time

    def clock() -> float:
        import torch

        torch.cuda.synchronize()
        return perf_counter()

    return clock


def table(rows: Iterable[Ratio]) -> str:
    """Markdown table of the median times of a step and the ratios, and below it how far the blocks spread.

    Args:
        rows: What was compared, with names and the ratios wanted.

    Returns:
        The table and a line on its spread.
    """
    rows = list(rows)
    lines = ["| what | theirs | ours | ratio | at least | holds |", "|---|---|---|---|---|---|"]
    spreads = []
    for row in rows:
        low, high = row.interval
        theirs, ours = (f"{1e3 * median(times) / row.steps:.2f} ms" for times in (row.theirs, row.ours))
        ratio, holds = f"{row.median:.2f} [{low:.2f}, {high:.2f}]", "yes" if row.holds else "no"
        lines.append(f"| {row.what} | {theirs} | {ours} | {ratio} | {row.at_least:g} | {holds} |")
        spreads.append(f"{min(row.ratios):.2f} to {max(row.ratios):.2f}")
    if rows:
        blocks = len(rows[0].ratios)
        covered = median_interval(range(blocks))[2]
        lines += [
            "",
            f"Medians of {blocks} interleaved blocks each, in brackets the interval of the median ratio "
            f"({covered:.0%}); single ratios from {'; '.join(spreads)}.",
        ]
    return "\n".join(lines)
