"""What is remembered of the training series: their grid, their seasons, the sizes of the columns beside them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from rnnkit.data.panel import Column, Panel, TimeSeries
from rnnkit.data.stamps import DAY, WEEK, Frequency
from rnnkit.errors import DataError
from rnnkit.tasks.saved import reading

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.config import ForecastingConfig

LEAST_SEASONS = 3  # of a series, for its season to be seen
YEAR_OF_DAYS = 365
CANDIDATES = (4, 5, 6, 7, 8, 10, 12, 13, 14, 18, 21, 24, 26, 28, 30, 36, 48, 52, 60, 72, 96, 120, 144, 168, 288)
CANDIDATES += (336, 365)
SAMPLED_SERIES = 200
LEAST_CORRELATION = 0.3  # of the changes a season apart
STANDS_OUT = 0.02  # of a longer season's correlation, beside those of its neighbours
AS_GOOD = 0.9  # of the best season's correlation: the shortest such season is taken
MOST_CATEGORIES = 50
STEPS_A_VALUE = 64  # of training, for every value that is regressed on
LEAST_RECENT, MOST_RECENT = 4, 168

_log = logging.getLogger("rnnkit.tasks")


@dataclass(frozen=True)
class BesideColumn:
    """A column beside the values, as training knew it.

    Attributes:
        name: Its heading.
        kind: When it is known.
        mean: Of a number.
        deviation: Likewise.
        categories: Of a text, one feature each; none of a number.
    """

    name: str
    kind: Literal["static", "future", "past"]
    mean: float = 0.0
    deviation: float = 1.0
    categories: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of its features."""
        return tuple(f"{self.name}={one}" for one in self.categories) or (self.name,)

    def encode(self, values: Column) -> np.ndarray:
        """Turn its cells into (time, features) float32, NaN where one is missing or was never seen."""
        if not self.categories:
            numbers = np.asarray(values, dtype=np.float64)
            return ((numbers - self.mean) / self.deviation).astype(np.float32)[:, None]
        known = np.array([one in self.categories for one in values], dtype=bool)
        hot = np.array([[cell == one for one in self.categories] for cell in values], dtype=np.float32)
        return np.where(known[:, None], hot.reshape(len(known), len(self.categories)), np.float32("nan"))

    @classmethod
    def learn(cls, name: str, kind: Any, columns: Sequence[Column], *, place: str) -> Self:
        """Learn from the training part of every series."""
        cells = np.concatenate(columns)
        if cells.dtype.kind == "f":
            if np.isnan(cells).all():
                raise DataError(f"{place}: column {name!r} has no value in the training steps; leave it out.")
            return cls(name, kind, float(np.nanmean(cells)), float(np.nanstd(cells)) or 1.0)
        found = sorted({str(cell) for cell in cells if cell is not None})
        if not found or len(found) > MOST_CATEGORIES:
            raise DataError(
                f"{place}: column {name!r} has {len(found)} different texts; expected 1 to {MOST_CATEGORIES}: "
                "leave it out, or write numbers."
            )
        return cls(name, kind, categories=tuple(found))


@dataclass(frozen=True)
class Facts:
    """What the training series taught.

    Attributes:
        frequency: Of their steps.
        seasons: Steps of each, rising; the first is the one that errors are measured by.
        log: Whether the logarithm is forecast.
        columns: Beside the values: those known ahead, then those known up to the present.
        notes: What a person should know.
        recent: How many last values are regressed on.
        counts: Whether values are counts.
    """

    frequency: Frequency
    seasons: tuple[int, ...]
    log: bool
    columns: tuple[BesideColumn, ...]
    notes: tuple[str, ...]
    recent: int
    counts: bool

    @property
    def season(self) -> int:
        """Steps of the season that naive forecasts repeat; 1 is none."""
        return self.seasons[0] if self.seasons else 1

    @property
    def ahead(self) -> int:
        """How many features beside the values are known ahead."""
        return sum(len(one.features) for one in self.columns if one.kind != "past")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features beside the values."""
        return tuple(name for one in self.columns for name in one.features)

    @classmethod
    def learn(cls, panel: Panel, config: ForecastingConfig) -> Self:
        """Learn from training series."""
        seasons = config.seasons or _seasons(panel)
        if config.transform == "log":
            _refuse_below_zero(panel)
        words = f"seasons: {', '.join(map(str, seasons))} steps" if seasons else "no season is known"
        recent = recent_steps(sum(len(one) for one in panel.series), config.context)
        return cls(
            panel.frequency,
            seasons,
            log=config.transform == "log",
            columns=tuple(_columns(panel)),
            notes=(*panel.notes, words),
            recent=recent,
            counts=config.distribution == "negative-binomial",
        )

    def values_of(self, series: TimeSeries) -> np.ndarray:
        """Return the values of a series, transformed.

        Raises:
            DataError: If one is no count, where counts are forecast.
        """
        self.check(series.values, where=f"{series.place}: series {series.name!r}")
        return self.transformed(series.values)

    def check(self, values: np.ndarray, *, where: str) -> None:
        """Refuse values that are no counts by a DataError, where counts are forecast."""
        if not self.counts:
            return
        wrong = np.flatnonzero((values < 0) | (values % 1 > 0))
        if len(wrong):
            raise DataError(
                f"{where} has {values[wrong[0]]:g} as its value {wrong[0] + 1:,}, which is no count; expected whole "
                "numbers from 0 on, or a model of another --distribution."
            )

    def transformed(self, values: np.ndarray) -> np.ndarray:
        """Turn values into what is forecast; a value that has no logarithm is missing."""
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log(values), np.nan)

    def restored(self, values: np.ndarray) -> np.ndarray:
        """Turn forecasts back into values."""
        return np.exp(values) if self.log else values

    def warn_of_unknown(self, series: str, ahead: np.ndarray) -> None:
        """Warn where a column that should be known ahead is not, in (steps ahead, features)."""
        first = 0
        for column in self.columns:
            last = first + len(column.features)
            if column.kind == "future" and np.isnan(ahead[:, first:last]).any():
                _log.warning(
                    "%s: column %r is not known for all steps ahead; the forecast does without it. A file that has "
                    "these steps, their values left empty, tells it",
                    series,
                    column.name,
                )
            first = last

    def beside(self, series: TimeSeries, *, ahead: int) -> np.ndarray:
        """Return (steps + ahead, features) float32 of a series, NaN where something is missing.

        Raises:
            DataError: If a column is missing.
        """
        time = len(series) + ahead
        parts = [np.zeros((time, 0), dtype=np.float32)]
        for column in self.columns:
            given = {"static": series.static, "future": series.future, "past": series.past}[column.kind]
            if column.name not in given:
                raise DataError(f"{series.place}: column {column.name!r} is missing, which the model was trained with.")
            cells: Any = given[column.name]
            if column.kind == "static":
                cells = np.array([cells] * time, dtype=object if column.categories else np.float64)
            laid = np.full((time, len(column.features)), np.nan, dtype=np.float32)
            laid[: len(cells)] = column.encode(cells[:time])
            parts.append(laid)
        return np.concatenate(parts, axis=1)

    def save(self, folder: Path) -> None:
        """Write facts.json."""
        (folder / "facts.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The facts.

        Raises:
            CheckpointError: If it is missing or damaged.
        """
        path = folder / "facts.json"
        with reading(path):
            saved = json.loads(path.read_text())
            columns = [BesideColumn(**{**one, "categories": tuple(one["categories"])}) for one in saved["columns"]]
            lists = {"seasons": tuple(saved["seasons"]), "columns": tuple(columns), "notes": tuple(saved["notes"])}
            return cls(**{**saved, **lists, "frequency": Frequency(**saved["frequency"])})


def recent_steps(steps: int, context: int | None) -> int:
    """Return how many last values so many training steps are enough to regress on, within a context."""
    return int(np.clip(steps // STEPS_A_VALUE, LEAST_RECENT, min(MOST_RECENT, context or MOST_RECENT)))


def _columns(panel: Panel) -> Iterator[BesideColumn]:
    first = panel.series[0]
    for name, value in first.static.items():
        kind = object if isinstance(value, str) or value is None else np.float64
        cells = [np.array([one.static[name]], dtype=kind) for one in panel.series]
        yield BesideColumn.learn(name, "static", cells, place=first.place)
    for name in first.future:
        cells = [one.future[name][: len(one)] for one in panel.series]
        yield BesideColumn.learn(name, "future", cells, place=first.place)
    for name in first.past:
        yield BesideColumn.learn(name, "past", [one.past[name] for one in panel.series], place=first.place)


def _refuse_below_zero(panel: Panel) -> None:
    for series in panel.series:
        low = np.flatnonzero(series.values <= 0)
        if len(low):
            raise DataError(
                f"{series.place}: series {series.name!r} has {series.values[low[0]]:g}, which has no logarithm; "
                "expected values above 0: leave out --transform log."
            )


def _seasons(panel: Panel) -> tuple[int, ...]:
    """Return the seasons of the calendar that the series are long enough for, or those they repeat after."""
    longest = max(len(one) for one in panel.series)
    frequency = panel.frequency
    if frequency.unit == "step":
        return _repeated(panel)
    if frequency.unit == "second":
        lengths = [period // frequency.count for period in (DAY, WEEK) if period % frequency.count == 0]
        lengths += [YEAR_OF_DAYS] if frequency.count == DAY else [52] if frequency.count == WEEK else []
    else:
        lengths = [frequency.season]
    return tuple(one for one in lengths if one > 1 and one * 2 <= longest)


def _repeated(panel: Panel) -> tuple[int, ...]:
    """Return the season whose steps change most alike, and a multiple that stands out from those beside it."""
    some = panel.series[:: max(1, len(panel) // SAMPLED_SERIES)]
    changes = [np.diff(one.values) for one in some]

    def alike(lag: int) -> float:
        """Return the mean correlation, -inf where too few series are long enough."""
        long = [one for one in changes if len(one) > LEAST_SEASONS * lag]
        return float(np.mean([_correlation(one, lag) for one in long])) if len(long) * 2 >= len(some) else -math.inf

    found = {lag: alike(lag) for lag in CANDIDATES}
    best = max(found.values())
    if best < LEAST_CORRELATION:
        return ()
    first = min(lag for lag in found if found[lag] >= AS_GOOD * best)
    multiples = [lag for lag in CANDIDATES if lag > first and lag % first == 0 and found[lag] > -math.inf]
    longer = [lag for lag in multiples if found[lag] - (alike(lag - first) + alike(lag + first)) / 2 > STANDS_OUT]
    return (first, *longer[:1])


def _correlation(changes: np.ndarray, lag: int) -> float:
    """Return the correlation of changes some steps apart, 0 where nothing changes."""
    centred = np.nan_to_num(changes - np.nanmean(changes)) if np.isfinite(changes).any() else np.zeros(1)
    power = centred @ centred
    return float(centred[lag:] @ centred[:-lag] / power) if power and len(centred) > lag else 0.0
