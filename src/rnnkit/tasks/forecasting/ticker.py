"""Observations of many series as they arrive, a row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.data.panel_files import read_panel_frame
from rnnkit.errors import DataError
from rnnkit.streaming import work_alone
from rnnkit.tasks.forecasting.results import TickEvent
from rnnkit.tasks.forecasting.stream import ForecastStream

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.task import Forecasting

MOST_SKIPPED = 100_000  # steps between two observations


class Ticker:
    """A stream for each known series, begun when its first observation comes.

    A step that no observation came for is missing; an observation of a step that is over counts no more.

    Args:
        model: The forecaster.
    """

    def __init__(self, model: Forecasting) -> None:
        self.model = model
        self._streams: dict[str, ForecastStream] = {}

    def push_row(self, row: Mapping[str, list[str]], *, place: tuple[str, int] = ("the row", 1)) -> list[TickEvent]:
        """Take a row of a table.

        Args:
            row: A cell of each column, in a list.
            place: The file that it is from and its line, for messages.

        Returns:
            An event for each step of each series in it, steps without an observation among them.

        Raises:
            DataError: If a series is unknown, a cell is no number or a time on no step.
        """
        model = self.model
        frequency = model.facts.frequency
        panel = read_panel_frame(row, model.config.columns, frequency=frequency, ticks=True, place=place)
        events = []
        for series in panel.series:
            live = self._stream(series.name)
            numbered = frequency.unit == "step" and model.config.time_column is None
            skipped = 0 if numbered else series.first - live.step
            if skipped > MOST_SKIPPED:
                raise DataError(f"series {series.name!r} skips {skipped:,} steps; expected {MOST_SKIPPED:,} or fewer.")
            if skipped < 0:
                continue
            if skipped:
                events += live.push(np.full(skipped, np.nan))
            told = model.facts.beside(series, ahead=model.config.horizon)
            events += work_alone(live.taking(series.values, beside=told))
        return events

    def push_value(self, cell: str, *, where: str) -> list[TickEvent]:
        """Take the next value of the only series.

        Args:
            cell: As written; empty where it is missing.
            where: Names it in a message.

        Returns:
            Its event.

        Raises:
            DataError: If there are several series, or the cell is no number.
        """
        names = self.model.memory.names.tolist()
        if len(names) > 1:
            raise DataError(
                f"{where}: a bare value, but the model knows {len(names)} series; expected a header, then rows as in "
                "the training table."
            )
        try:
            value = float(cell) if cell.strip() else None
        except ValueError:
            raise DataError(
                f"{where}: {cell!r} is no number; expected a value a line, nan where one is missing."
            ) from None
        return self._stream(names[0]).push([value])

    def _stream(self, name: str) -> ForecastStream:
        if name not in self._streams:
            self._streams[name] = self.model.stream(series=name)
        return self._streams[name]
