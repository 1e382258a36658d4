"""Series end to end as a network's windows are cut from them, and what a forecast may know at its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.data.ragged import Ragged, load_array
from rnnkit.errors import DataError

QUICK_ORIGINS, QUICK_DRAWN = 2000, 200
SHOWN_NAMES = 5
ARRAYS = ("names", "level", "spread", "first", "origins", "starts")


@dataclass(frozen=True)
class Histories:
    """Series, their running scales, and the origins that are scored.

    Attributes:
        names: (series,) str.
        values: (steps,) float64 of each series, transformed, NaN where one is missing.
        beside: (steps or more, columns) float32 of each: what is known of each step besides, NaN where it is missing;
            the columns known ahead go on past the end.
        level: (steps,) float64 end to end, as known after each step.
        spread: Likewise.
        first: (series,) the number of the first step of each on the grid.
        origins: (origins, 2) int64: a series, and how many of its steps a forecast has seen.
        starts: (series,) training forecasts nothing before so many steps.
    """

    names: np.ndarray
    values: Ragged
    beside: Ragged
    level: np.ndarray
    spread: np.ndarray
    first: np.ndarray
    origins: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def sizes(self) -> dict[str, int]:
        """Count series, values and missing ones, for a report."""
        missing = int(np.isnan(self.values.values).sum())
        counts = {"series": len(self), "steps": len(self.values.values), "origins": len(self.origins)}
        return {**counts, **({"missing values": missing} if missing else {})}

    @property
    def numbers(self) -> dict[str, int]:
        """Which series has which name."""
        return {name: index for index, name in enumerate(self.names.tolist())}

    def find(self, names: Sequence[str]) -> np.ndarray:
        """Find series by name.

        Args:
            names: Some.

        Returns:
            (names,) their numbers.

        Raises:
            DataError: If one is unknown.
        """
        known = self.numbers
        for name in names:
            if name not in known:
                raise DataError(f"there is no series {name!r}; expected one of {', '.join(list(known)[:SHOWN_NAMES])}.")
        return np.array([known[name] for name in names], dtype=np.int64)

    def part(self, series: np.ndarray, starts: np.ndarray) -> Self:
        """Return the steps of some series, (series,), from places within them on, (series,); `origins` stay."""
        firsts, ends = (self.offsets[series] + starts).tolist(), self.values.ends[series].tolist()
        kept = np.concatenate([np.arange(first, end) for first, end in zip(firsts, ends, strict=True)])
        beside = [self.beside[index][start:] for index, start in zip(series.tolist(), starts.tolist(), strict=True)]
        return replace(
            self,
            names=self.names[series],
            values=Ragged(self.values.values[kept], np.cumsum(self.values.lengths[series] - starts)),
            beside=Ragged.join(beside, like=self.beside.values[:0]),
            level=self.level[kept],
            spread=self.spread[kept],
            first=self.first[series] + starts,
        )

    @property
    def ahead(self) -> list[np.ndarray]:
        """What is known beside the steps after the last one of each series, (any, columns) each."""
        return [self.beside[index][length:] for index, length in enumerate(self.values.lengths.tolist())]

    @cached_property
    def usual_spread(self) -> np.ndarray:
        """(series,) mean of the spread."""
        spans = zip(self.offsets.tolist(), self.values.ends.tolist(), strict=True)
        return np.array([self.spread[first:end].mean() if first < end else 1.0 for first, end in spans])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(series,) where each begins in the arrays."""
        return self.values.ends - self.values.lengths

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self.values.save(folder, "values")
        self.beside.save(folder, "beside")
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays = {name: load_array(folder / f"{name}.npy") for name in ARRAYS}
        return cls(values=Ragged.load(folder, "values"), beside=Ragged.load(folder, "beside"), **arrays)


@dataclass(frozen=True)
class Lags:
    """Which steps of the past say most of a step: as many seasons ago as are known at the origin.

    Attributes:
        seasons: Steps of each.
        horizon: Steps forecast.
    """

    seasons: tuple[int, ...]
    horizon: int

    @cached_property
    def behind(self) -> np.ndarray:
        """(horizon, 2 x seasons) int64: how many steps before the forecast one; the season then, and the one before."""
        ahead = np.arange(1, self.horizon + 1)[:, None]
        seasons = np.array(self.seasons, dtype=np.int64)[None]
        whole = -(-ahead // seasons) * seasons
        return np.concatenate([whole, whole + seasons], axis=1)

    @property
    def longest(self) -> int:
        """How many steps must be remembered."""
        return int(self.behind.max(initial=1))


def look_back(
    histories: Histories, series: np.ndarray, places: np.ndarray, *, origins: np.ndarray, context: int | None = None
) -> np.ndarray:
    """Return values in units of the scale at an origin, none from after it.

    Args:
        histories: The series.
        series: (windows,) which.
        places: (windows, ...) steps within each.
        origins: (windows,) steps seen; a place at or after it gives NaN, as one before the beginning does.
        context: How many steps before the origin may be looked at; None is all.

    Returns:
        (windows, ...) float64 with NaN.
    """
    shape = (-1, *(1 for _ in places.shape[1:]))
    offsets, seen = histories.offsets[series].reshape(shape), origins.reshape(shape)
    earliest = 0 if context is None else np.maximum(seen - context, 0)
    inside = (places >= earliest) & (places < seen)
    values = histories.values.values[offsets + np.where(inside, places, 0)]
    level, spread = scale_at(histories, series, origins)
    return np.where(inside, (values - level.reshape(shape)) / spread.reshape(shape), np.nan)


def scale_at(histories: Histories, series: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return level and spread as known at origins, (windows,) each."""
    places = histories.offsets[series] + np.maximum(origins - 1, 0)
    return histories.level[places], histories.spread[places]


def in_own_unit(quantiles: np.ndarray, histories: Histories, origins: np.ndarray) -> np.ndarray:
    """Take quantiles in units of the scale at origins, (origins, horizon, levels), back to those of the values."""
    level, spread = scale_at(histories, *origins.T)
    return quantiles * spread[:, None, None] + level[:, None, None]


def targets(histories: Histories, series: np.ndarray, origins: np.ndarray, *, horizon: int) -> np.ndarray:
    """Return what came after origins, (windows, horizon) float64, NaN where nothing is known."""
    places = origins[:, None] + np.arange(horizon)
    there = places < histories.values.lengths[series][:, None]
    values = histories.values.values[histories.offsets[series][:, None] + np.where(there, places, 0)]
    return np.where(there, values, np.nan)


def rolling_origins(lengths: Sequence[int], *, seen: Sequence[int], horizon: int, every: int) -> np.ndarray:
    """Return origins from `seen` steps of each series on, while a whole horizon is known.

    Args:
        lengths: Of the series.
        seen: The first origin of each.
        horizon: Steps forecast.
        every: Steps from one origin to the next.

    Returns:
        (origins, 2) int64.
    """
    rows = [
        (index, origin)
        for index, (length, first) in enumerate(zip(lengths, seen, strict=True))
        for origin in range(first, length - horizon + 1, every)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def completed(told: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is told beside steps, (steps, columns) with NaN, by what was known of them before, (any, columns)."""
    count = min(len(told), len(known))
    laid = told.copy()
    laid[:count] = np.where(np.isnan(told[:count]), known[:count], told[:count])
    return laid


def some_origins(data: Histories, *, most: int = QUICK_ORIGINS) -> np.ndarray:
    """Return at most so many origins, spread evenly, (origins, 2)."""
    return data.origins[:: max(1, -(-len(data.origins) // most))]
