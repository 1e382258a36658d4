"""What differences between layers are worth: intervals over seeds, and sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and the half width of its 95 % interval by Student's t; NaN for one seed."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        """Return mean +- half width."""
        return f"{self.mean:.4g}" if math.isnan(self.half_width) else f"{self.mean:.4g} ± {self.half_width:.2g}"


def interval(values: Sequence[float]) -> Interval:
    """Estimate the mean of which values are draws.

    Args:
        values: One a seed.

    Returns:
        The mean and its 95 % interval.
    """
    if len(values) < 2:
        return Interval(statistics.fmean(values), math.nan)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return Interval(statistics.fmean(values), spread * _student(len(values) - 1))


def difference(ours: Sequence[float], theirs: Sequence[float], *, means: int = 2) -> Interval:
    """Estimate how much larger the mean of one layer is than that of another.

    Args:
        ours: One value a seed.
        theirs: Likewise.
        means: How many layers are compared: the more there are, the further apart chance alone brings two of them.

    Returns:
        The difference and its half width: with 95 %, all differences between so many means are within theirs (Games
        and Howell 1976; of two means, Welch 1947). NaN where a layer has one seed, or neither has any spread.
    """
    gap = statistics.fmean(ours) - statistics.fmean(theirs)
    if min(len(ours), len(theirs)) < 2:
        return Interval(gap, math.nan)
    parts = [statistics.variance(values) / len(values) for values in (ours, theirs)]
    if not sum(parts):
        return Interval(gap, math.nan)  # equal by rounding, more likely than certain
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (ours, theirs), strict=True)
    )
    return Interval(gap, math.sqrt(sum(parts) / 2) * _studentized_range(means, freedom))


def _student(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _studentized_range(means: int, freedom: float) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(CONFIDENCE, means, freedom))


def judge(values: Mapping[str, Sequence[float]], *, metric: str) -> str:
    """Say which layer is best, and which of the others are worse by more than chance.

    Args:
        values: Of each layer, one a seed; lower is better.
        metric: Its name.

    Returns:
        A sentence or more.
    """
    best = min(values, key=lambda layer: statistics.fmean(values[layer]))
    words = [f"{best} has the lowest {metric}, {interval(values[best])}."]
    several = {layer for layer, some in values.items() if len(some) > 1}
    worse, alike, alone = [], [], []
    for layer in values.keys() - {best}:
        gap = difference(values[layer], values[best], means=len(several))
        proven = gap.mean - gap.half_width > 0
        (worse if proven else alike if {layer, best} <= several else alone).append((gap.mean, f"{layer} (+{gap})"))
    for said, some in (
        ("Worse by more than chance", worse),
        ("Not to be told from it with these seeds", alike),
        ("With one seed alone, which proves nothing (give more --seeds)", alone),
    ):
        if some:
            words.append(f"{said}: {', '.join(one for _, one in sorted(some))}.")
    return " ".join(words)
