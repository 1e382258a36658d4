"""Series to learn from or to be measured on: which of their steps are history, and from where on they are forecast."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.data.panel import Panel, TimeSeries
from rnnkit.data.panel_files import PanelColumns, read_panel_file
from rnnkit.data.ragged import Ragged
from rnnkit.data.stamps import Frequency, parse_stamps
from rnnkit.errors import DataError
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.history import Histories, completed, rolling_origins
from rnnkit.tasks.forecasting.scaling import running_scales, window_scales
from rnnkit.tasks.forecasting.values import as_values
from rnnkit.tasks.forecasting.windows import half_life_of

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.config import ForecastingConfig

MOST_ORIGINS, MOST_DRAWN = 20_000, 1000  # of validation; of more every so many-th is taken; where paths are drawn
LEAST_VALUES = 8  # before training forecasts

_log = logging.getLogger("rnnkit.tasks")


@dataclass(frozen=True)
class Part:
    """Series, and what of them is scored.

    Attributes:
        panel: The series, history first.
        seen: So many steps of each are history to the first forecast; None where all are there to learn from.
        every: Steps from one origin of a forecast to the next.
        ends: No forecast that goes past so many steps of each is scored; None is all.
    """

    panel: Panel
    seen: tuple[int, ...] | None = None
    every: int = 1
    ends: tuple[int, ...] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the reading."""
        return self.panel.notes


def read_panels(paths: Sequence[str | Path], columns: PanelColumns) -> Panel:
    """Read the series of some files, or of the tables in folders.

    Args:
        paths: CSV or Parquet each, or folders of such.
        columns: Where things stand.

    Returns:
        All series.

    Raises:
        DataError: If a file cannot be used, two have different frequencies, or a series is in two.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: the folder is empty; expected tables.")
    panels = [read_panel_file(path, columns) for path in files]
    owners: dict[str, str] = {}
    for path, panel in zip(files, panels, strict=True):
        if panel.frequency != panels[0].frequency:
            raise DataError(
                f"{path} is {panel.frequency.words} and {files[0]} is {panels[0].frequency.words}; "
                "expected one frequency: train a model for each."
            )
        for series in panel.series:
            if series.name in owners:
                raise DataError(f"{series.place}: series {series.name!r} is in {owners[series.name]} too.")
            owners[series.name] = series.place
    series = tuple(one for panel in panels for one in panel.series)
    return replace(panels[0], series=series, notes=tuple(note for panel in panels for note in panel.notes))


def step_number(frequency: Frequency, stamp: str, *, option: str) -> int:
    """Return the number on a grid of the step at a time stamp.

    Args:
        frequency: Of the grid.
        stamp: In any style that a table may have; the number itself where steps are numbered.
        option: Where it was given.

    Returns:
        The number.

    Raises:
        DataError: If it is no stamp.
    """
    if frequency.unit != "step":
        return int(frequency.numbers(parse_stamps([stamp], [option], column="the stamp")[0])[0])
    if not stamp.strip().isdecimal():
        raise DataError(f"{option}: {stamp!r} is no number; steps are numbered: expected one, as 500.")
    return int(stamp)


def split_in_time(panel: Panel, config: ForecastingConfig) -> tuple[Part, Part, str]:
    """Keep the last steps of every series for validation: a share of them, at least one horizon.

    Steps from `config.test_from` on belong to neither part; they stay in the second one's series.

    Args:
        panel: All series.
        config: Says how many.

    Returns:
        What to learn from, what to validate on with its history, and the rule in words.

    Raises:
        DataError: If no series is long enough.
    """
    whole = panel
    if config.test_from is not None:
        test = step_number(panel.frequency, config.test_from, option="--test-from")
        panel = replace(panel, series=tuple(one.until(test) for one in panel.series))
    longest = max(len(one) for one in panel.series)
    held = max(config.horizon, int(config.valid_share * longest))
    if panel.frequency.unit == "step":
        cuts = [one.end - min(held, max(config.horizon, int(config.valid_share * len(one)))) for one in panel.series]
    else:
        cuts = [max(one.end for one in panel.series) - held] * len(panel)
    learnt = [one.until(cut) for one, cut in zip(panel.series, cuts, strict=True)]
    usable = [one for one in learnt if np.isfinite(one.values).sum() > 1]
    if not usable or not any(len(one) > config.horizon for one in usable):
        raise DataError(
            f"{panel.series[0].place}: the longest series has {longest:,} steps, too few to keep {held:,} for "
            f"validation and learn to forecast {config.horizon:,} from the others; expected more than "
            f"{held + config.horizon:,}, a shorter --horizon, or a file given with --valid."
        )
    seen = tuple(len(one) for one in learnt)
    rule = f"the last {held:,} steps are kept for validation"
    ends = tuple(len(one) for one in panel.series)
    valid = Part(replace(whole, notes=()), seen, every_so_many(panel, seen, config), ends)
    return Part(replace(panel, series=tuple(usable))), valid, rule


def every_so_many(panel: Panel, seen: Sequence[int], config: ForecastingConfig) -> int:
    """Return how far apart origins must be for there to be no more than is measured in a moment, at least 1."""
    most = MOST_ORIGINS if config.distribution == "quantiles" else MOST_DRAWN
    count = sum(max(len(one) - first - config.horizon + 1, 0) for one, first in zip(panel.series, seen, strict=True))
    return max(1, -(-count // most))


def encode_part(part: Part, facts: Facts, config: ForecastingConfig) -> Histories:
    """Lay series end to end with their running scales.

    Args:
        part: The series; those without a history are forecast nowhere.
        facts: Of the training series.
        config: Of the model.

    Returns:
        Ready to be cut into windows.
    """
    series = part.panel.series
    values = [facts.values_of(one) for one in series]
    beside = [facts.beside(one, ahead=config.horizon) for one in series]
    names, first = [one.name for one in series], [one.first for one in series]
    seen = part.seen if part.seen is not None else [len(one) for one in series]
    made = _histories(names, first, values, beside, seen=seen, every=part.every, facts=facts, config=config)
    if part.ends is None:
        return made
    inside = made.origins[:, 1] + config.horizon <= np.array(part.ends)[made.origins[:, 0]]
    return replace(made, origins=made.origins[inside])


def continue_known(panel: Panel, known: Histories, facts: Facts, config: ForecastingConfig) -> Histories:
    """Put the steps of series that are new after those that are known, to be forecast from the last known one on.

    Where steps are numbered by rows alone, series whose values differ from the known ones begin after them.

    Args:
        panel: New steps, and perhaps old ones.
        known: The series up to some step.
        facts: Of the training series.
        config: Of the model.

    Returns:
        Ready to be forecast; where no step is new, the last of the known ones are.

    Raises:
        DataError: If a series is unknown.
    """
    values, beside, _ = new_steps(panel, known, facts, config)
    lengths = known.values.lengths.tolist()
    fresh = any(len(one) for one in values)
    held = config.horizon + int(config.valid_share * max(lengths))
    return _histories(
        known.names.tolist(),
        known.first.tolist(),
        [np.concatenate([known.values[index], new]) for index, new in enumerate(values)],
        [np.concatenate([known.beside[index][: lengths[index]], new]) for index, new in enumerate(beside)],
        seen=lengths if fresh else [max(length - held, 1) for length in lengths],
        every=1,
        facts=facts,
        config=config,
    )


def warn_of_known(part: Part, known: Histories, facts: Facts, config: ForecastingConfig) -> None:
    """Warn where series to validate on bring no step after those to learn from.

    Args:
        part: The series; those cut off the training files have a history and are not asked.
        known: The series to learn from.
        facts: Of these.
        config: Of the model.

    Raises:
        DataError: If one is unknown.
    """
    if part.seen is None and not any(len(one) for one in new_steps(part.panel, known, facts, config)[0]):
        _log.warning(
            "%s: the file to validate on has no step after those to learn from, so that validation measures what was "
            "learnt by heart; give later steps, or no --valid: the last steps are kept for it then",
            part.panel.series[0].place,
        )


def given_series(inputs: Sequence[Any], facts: Facts, config: ForecastingConfig) -> Histories:
    """Lay out series of values, as `unknown_series` does; refuse one without a value by a DataError."""
    values = [as_values(one) for one in inputs]
    for number, one in enumerate(values, start=1):
        if not len(one):
            raise DataError(f"series {number} has no value; expected at least one.")
    return unknown_series(values, facts, config)


def unknown_series(values: Sequence[np.ndarray], facts: Facts, config: ForecastingConfig) -> Histories:
    """Lay out values of series that have no name, (time,) each, of which nothing else is known."""
    beside = [np.full((len(one) + config.horizon, len(facts.features)), np.nan, dtype=np.float32) for one in values]
    names = [f"series {number}" for number in range(1, len(values) + 1)]
    changed, zeros = [facts.transformed(one) for one in values], [0] * len(values)
    return _histories(names, zeros, changed, beside, seen=zeros, every=1, facts=facts, config=config)


def _histories(
    names: Sequence[str],
    first: Sequence[int],
    values: Sequence[np.ndarray],
    beside: Sequence[np.ndarray],
    *,
    seen: Sequence[int],
    every: int,
    facts: Facts,
    config: ForecastingConfig,
) -> Histories:
    context, half_life = config.context, half_life_of(facts, config)
    scales = [running_scales(one, half_life) if context is None else window_scales(one, context) for one in values]
    return Histories(
        np.array(names),
        Ragged.join(values, like=np.empty(0)),
        Ragged.join(beside, like=np.empty((0, len(facts.features)), dtype=np.float32)),
        np.concatenate([level for level, _ in scales]),
        np.concatenate([spread for _, spread in scales]),
        np.array(first, dtype=np.int64),
        rolling_origins(
            [len(one) for one in values], seen=[max(one, 1) for one in seen], horizon=config.horizon, every=every
        ),
        np.array([first_seen(one) for one in values], dtype=np.int64),
    )


def new_steps(
    panel: Panel, tail: Histories, facts: Facts, config: ForecastingConfig
) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Find what is new in series for a model that knows them up to some step.

    Args:
        panel: New steps, and perhaps old ones.
        tail: The last known steps of each series.
        facts: Of the training series.
        config: Of the model.

    Returns:
        (new,) transformed values of each known series, NaN where one is missing; (new + horizon, features) of what is
        known beside them; and the names of the series in the panel.

    Raises:
        DataError: If a series is unknown.
    """
    known = tail.numbers
    ends = (tail.first + tail.values.lengths).tolist()
    values = [np.empty(0) for _ in known]
    beside = tail.ahead
    for one in panel.series:
        if one.name not in known:
            raise DataError(f"{one.place}: series {one.name!r} was not among the training series; train again with it.")
        index = known[one.name]
        series = _after_known(one, tail, index, facts) if facts.frequency.unit == "step" else one
        new = max(series.end - ends[index], 0) if len(series) else 0
        gap = max(series.first - ends[index], 0)
        skipped = gap if len(series) else 0  # a series without values tells what is ahead
        known_from = max(ends[index] - series.first, 0)
        values[index] = np.concatenate([np.full(skipped, np.nan), facts.values_of(series)[known_from:]])
        rows = np.full((new + config.horizon, len(facts.features)), np.nan, dtype=np.float32)
        told = facts.beside(series, ahead=config.horizon)[known_from:]
        rows[gap : gap + len(told)] = told[: max(len(rows) - gap, 0)]
        beside[index] = completed(rows, beside[index])
    return values, beside, [series.name for series in panel.series]


def _after_known(series: TimeSeries, known: Histories, index: int, facts: Facts) -> TimeSeries:
    """Move a numbered series behind the known one, unless it repeats what is known."""
    first, values = int(known.first[index]), facts.restored(known.values[index])
    start, end = max(first, series.first), min(first + len(values), series.end)
    told, remembered = series.values[start - series.first : end - series.first], values[start - first : end - first]
    if end <= start or np.allclose(told, remembered, equal_nan=True):
        return series
    return replace(series, first=first + len(values))


def first_seen(values: np.ndarray) -> int:
    """Return how many steps of a series must be seen for its spread to mean something; of a short one, half."""
    present = np.flatnonzero(~np.isnan(values))
    least = min(LEAST_VALUES, max(len(present) // 2, 1))
    return int(present[least - 1]) + 1 if len(present) else len(values)
