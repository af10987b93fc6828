"""Whether networks do no better, or worse, than chance: exact binomial tests at one error rate for a whole table."""

from collections.abc import Sequence

ERROR_RATE = 0.05  # probability that networks at chance are not all taken for such, over the whole table
POWER = 0.9  # probability with which a network must be found that is as far from chance as a claim names


def p_value(correct: int, count: int, chance: float) -> float:
    """Two-sided exact p-value of a count, twice the smaller tail, were every sample right with this probability.

    Args:
        correct: Samples that are right.
        count: Samples.
        chance: The probability.
    """
    from scipy.stats import binom

    tails = binom.cdf(correct, count, chance), binom.sf(correct - 1, count, chance)
    return min(1.0, 2 * float(min(tails)))


def accepted(count: int, chance: float, comparisons: int) -> tuple[int, int]:
    """The fewest and the most right samples that are taken for chance.

    Bonferroni: each of the comparisons has its share of the error rate, so that all of them together have it.

    Args:
        count: Samples.
        chance: Probability of being right by chance.
        comparisons: How many there are in the table.
    """
    from scipy.stats import binom

    level = ERROR_RATE / comparisons / 2
    return int(binom.ppf(level, count, chance)), count - int(binom.ppf(level, count, 1 - chance))


def power(count: int, chance: float, comparisons: int, truth: float) -> float:
    """The probability of finding that a network is not at chance.

    Args:
        count: Samples of the test set.
        chance: Probability of being right by chance.
        comparisons: How many there are in the table.
        truth: The probability with which it is right.
    """
    from scipy.stats import binom

    low, high = accepted(count, chance, comparisons)
    return float(binom.cdf(low - 1, count, truth) + binom.sf(high, count, truth))


def at_chance(
    counted: Sequence[tuple[int, int]], chance: float, comparisons: int, within: float | None
) -> tuple[bool, bool]:
    """Judge networks by what they have right.

    Args:
        counted: Right samples and all samples, of every network.
        chance: Probability of being right by chance.
        comparisons: How many there are in the whole table.
        within: How far from chance, in probability, a network is to be found out; None asks for nothing.

    Returns:
        Whether none differs from chance, and whether the test sets are large enough to find one that is that far away.
    """
    level = ERROR_RATE / comparisons
    same = all(p_value(correct, count, chance) >= level for correct, count in counted)
    ends = [] if within is None else [end for end in (chance - within, chance + within) if 0 <= end <= 1]
    able = all(power(count, chance, comparisons, end) >= POWER for count in {n for _, n in counted} for end in ends)
    return same, able and (within is None or bool(ends))
