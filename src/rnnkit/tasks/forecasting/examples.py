"""Series to learn from or to be measured on: which of their steps are history, and from where on they are forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rnnkit.data.panel import Panel, TimeSeries
from rnnkit.data.panel_files import PanelColumns, read_panel_file
from rnnkit.data.ragged import Ragged
from rnnkit.errors import DataError
from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.history import Histories, rolling_origins
from rnnkit.tasks.forecasting.scaling import running_scales, window_scales

MOST_ORIGINS = 20_000  # of validation; of more every so many-th is taken
LEAST_VALUES = 8  # before training forecasts
DEFAULT_HALF_LIFE = 48.0  # steps, where no season is known


@dataclass(frozen=True)
class Part:
    """Series, and what of them is scored.

    Attributes:
        panel: The series, history first.
        seen: So many steps of each are history to the first forecast; None where all are there to learn from.
        every: Steps from one origin of a forecast to the next.
    """

    panel: Panel
    seen: tuple[int, ...] | None = None
    every: int = 1

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


def split_in_time(panel: Panel, config: ForecastingConfig) -> tuple[Part, Part, str]:
    """Keep the last steps of every series for validation: a share of them, at least one horizon.

    Args:
        panel: All series.
        config: Says how many.

    Returns:
        What to learn from, what to validate on with its history, and the rule in words.

    Raises:
        DataError: If no series is long enough.
    """
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
    valid = Part(replace(panel, notes=()), seen, every_so_many(panel, seen, config.horizon))
    return Part(replace(panel, series=tuple(usable))), valid, rule


def every_so_many(panel: Panel, seen: Sequence[int], horizon: int) -> int:
    """Return how far apart origins must be for there to be no more than MOST_ORIGINS, at least 1."""
    count = sum(max(len(one) - first - horizon + 1, 0) for one, first in zip(panel.series, seen, strict=True))
    return max(1, -(-count // MOST_ORIGINS))


def encode_part(part: Part, facts: Facts, config: ForecastingConfig) -> Histories:
    """Lay series end to end with their running scales.

    Args:
        part: The series.
        facts: Of the training series.
        config: Of the model.

    Returns:
        Ready to be cut into windows.
    """
    values = [facts.transformed(one.values) for one in part.panel.series]
    context, half_life = config.context, half_life_of(facts, config)
    scales = [
        running_scales(one, half_life)[:2] if context is None else window_scales(one, context) for one in values
    ]
    ahead = config.horizon
    beside = [facts.beside(one, ahead=ahead) for one in part.panel.series]
    lengths = [len(one) for one in values]
    seen = part.seen if part.seen is not None else lengths
    return Histories(
        np.array([one.name for one in part.panel.series]),
        Ragged.join(values, like=np.empty(0)),
        Ragged.join(beside, like=np.empty((0, len(facts.features)), dtype=np.float32)),
        np.concatenate([level for level, _ in scales]),
        np.concatenate([spread for _, spread in scales]),
        np.array([one.first for one in part.panel.series], dtype=np.int64),
        rolling_origins(lengths, seen=[max(one, 1) for one in seen], horizon=config.horizon, every=part.every),
        np.array([first_seen(one) for one in part.panel.series], dtype=np.int64),
    )


def half_life_of(facts: Facts, config: ForecastingConfig) -> float:
    """Return after how many steps a value counts half in the running scales."""
    return config.half_life or float(max(facts.seasons, default=DEFAULT_HALF_LIFE))


def first_seen(series: TimeSeries) -> int:
    """Return how many steps of a series must be seen for its spread to mean something."""
    present = np.flatnonzero(~np.isnan(series.values))
    return int(present[min(LEAST_VALUES, len(present)) - 1]) + 1 if len(present) else len(series)
