"""Series of numbers over time on one grid of steps, with what is known beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnkit.data.stamps import Frequency

Column = np.ndarray
"""(time,) float64 with NaN where a value is missing, or str objects with None."""


@dataclass(frozen=True)
class TimeSeries:
    """One series.

    Attributes:
        name: Tells it from the others.
        first: Number of its first step on the grid.
        values: (time,) float64, NaN where a value is missing.
        past: What is known up to the present, (time,) each, by name.
        future: What is known ahead too, (time or more,) each, by name.
        static: What does not change, a number or a text each, by name.
        place: file:line of its first row.
    """

    name: str
    first: int
    values: np.ndarray
    past: Mapping[str, Column]
    future: Mapping[str, Column]
    static: Mapping[str, float | str | None]
    place: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end(self) -> int:
        """Number of the step after its last one."""
        return self.first + len(self.values)

    def until(self, step: int) -> TimeSeries:
        """Return its steps before `step`, a number on the grid; what is known ahead stays."""
        count = max(step - self.first, 0)
        return replace(self, values=self.values[:count], past={name: one[:count] for name, one in self.past.items()})


@dataclass(frozen=True)
class Panel:
    """Series on one grid.

    Attributes:
        series: In reading order.
        frequency: Of their steps.
        notes: What a person should know of the reading.
    """

    series: tuple[TimeSeries, ...]
    frequency: Frequency
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.series)

    @property
    def steps(self) -> int:
        """How many there are in all series together."""
        return sum(len(one) for one in self.series)


def on_grid(numbers: np.ndarray, column: Column, *, first: int, time: int) -> Column:
    """Lay a column of rows out on the steps of a grid; of two rows on one step the last counts.

    Args:
        numbers: (rows,) the step of each.
        column: (rows,).
        first: The first step.
        time: How many steps.

    Returns:
        (time,) with NaN, or None, where no row is.
    """
    missing: float | None = np.nan if column.dtype.kind == "f" else None
    laid = np.full(time, missing, dtype=column.dtype)
    laid[numbers - first] = column
    return laid


def duplicated(numbers: np.ndarray) -> np.ndarray:
    """Return which rows are followed by another one on the same step, (rows,) bool."""
    order = np.argsort(numbers, kind="stable")
    again = np.zeros(len(numbers), dtype=bool)
    again[order[:-1]] = numbers[order[1:]] == numbers[order[:-1]]
    return again


def gaps(series: Sequence[TimeSeries]) -> int:
    """Count the steps of all series that have no value."""
    return int(sum(np.isnan(one.values).sum() for one in series))
