"""Which windows training reads, and from which origins in them it forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnkit.errors import DataError
from rnnkit.tasks.forecasting.history import Histories
from rnnkit.tasks.forecasting.windows import Ahead, Views

ORIGINS, MANY_ORIGINS = 8, 64  # drawn from each window; many where only the next step is forecast
LEAST_STEPS, MOST_STEPS = 128, 384  # of a window
SEASONS = 2  # the longest one so many times makes a window
HIDDEN = 0.1  # share of the forecasts that do without what is known ahead, so that any can
UNUSED = 3  # the first part in so many of a window only brings the state into being


@dataclass(frozen=True)
class WindowBatch:
    """Windows to read, and forecasts to make on the way.

    Attributes:
        inputs: (windows, time, features) float32.
        lengths: (windows,) int64.
        rows: (origins,) the window of each origin.
        places: (origins,) the step of the window after which it forecasts.
        ahead: What is known then, and what came.
    """

    inputs: Tensor
    lengths: Tensor
    rows: Tensor
    places: Tensor
    ahead: Ahead[np.ndarray]


@dataclass(frozen=True)
class TrainingWindows:
    """Windows that cover all series, so many times that from every step one forecast is made, each moved by chance.

    Attributes:
        histories: The series.
        views: How windows become features.
        series: (windows,) which.
        starts: (windows,) where each begins if it is not moved.
        time: Steps of a window.
    """

    histories: Histories
    views: Views
    series: np.ndarray
    starts: np.ndarray
    time: int

    @classmethod
    def cover(cls, histories: Histories, views: Views) -> TrainingWindows:
        """Lay windows over all series, each overlapping the one before by what is unused of it.

        Args:
            histories: The series.
            views: How windows become features.

        Returns:
            The windows.

        Raises:
            DataError: If no series has two values.
        """
        time = min(max(SEASONS * max(views.lags.seasons, default=1), LEAST_STEPS), MOST_STEPS)
        rows = [
            (index, start)
            for index, length in enumerate(histories.values.lengths.tolist())
            for start in range(0, max(length - time // UNUSED, 1), time - time // UNUSED)
            if histories.starts[index] < length
        ]
        if not rows:
            raise DataError("no series has two values to learn from; expected a value, and a later one to forecast.")
        count = _drawn(views)
        origins = int(np.maximum(histories.values.lengths - histories.starts, 0).sum())
        series, starts = np.tile(np.array(rows, dtype=np.int64).T, -(-origins // (len(rows) * count)))
        return cls(histories, views, series, starts, time)

    @property
    def lengths(self) -> np.ndarray:
        """(windows,) steps of each."""
        return np.minimum(self.histories.values.lengths[self.series], self.time)

    def batch(self, windows: np.ndarray) -> WindowBatch:
        """Move some windows by chance, and draw origins in them."""
        series, lengths = self.series[windows], self.lengths[windows]
        room = self.histories.values.lengths[series] - lengths
        moved = self.starts[windows] + (torch.rand(len(windows)).numpy() - 0.5) * (self.time - self.time // UNUSED)
        starts = np.clip(moved.astype(np.int64), 0, room)
        # An origin has seen its window's first step at least, and leaves a step to be forecast.
        first = np.maximum(starts + np.where(starts > 0, lengths // UNUSED, 0) + 1, self.histories.starts[series])
        last = np.maximum(np.minimum(starts + lengths, self.histories.values.lengths[series] - 1), first)
        count = _drawn(self.views)
        shares = torch.rand(len(windows), count).numpy()
        origins = (first[:, None] + shares * (last - first + 1)[:, None]).astype(np.int64)
        rows = np.repeat(np.arange(len(windows)), count)
        return self.read(series, starts, lengths, rows=rows, origins=origins.reshape(-1))

    def read(
        self, series: np.ndarray, starts: np.ndarray, lengths: np.ndarray, *, rows: np.ndarray, origins: np.ndarray
    ) -> WindowBatch:
        """Return windows with the features of their origins; of a bounded context, a window for every origin."""
        ahead = self.views.ahead_of(self.histories, series[rows], origins)
        context = self.views.context
        if context is not None:
            starts, series = np.maximum(origins - context, 0), series[rows]
            lengths, rows = origins - starts, np.arange(len(origins))
        inputs = self.views.inputs(self.histories, series, starts, lengths)
        hidden = torch.rand(len(rows)).numpy() < HIDDEN
        ahead.known[hidden, :, self.views.calendar_size :] = 0.0
        places = origins - 1 - starts[rows]
        parts = [torch.from_numpy(part) for part in (lengths, rows, places)]
        return WindowBatch(torch.from_numpy(inputs), parts[0], parts[1], parts[2], ahead)


def _drawn(views: Views) -> int:
    """Return how many origins are drawn from a window."""
    return ORIGINS if views.lags.horizon > 1 else MANY_ORIGINS
