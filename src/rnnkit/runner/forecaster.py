"""Forecasters, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.runner.base import Runner
from rnnkit.tasks.forecasting.examples import given_series
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.history import Histories, in_own_unit
from rnnkit.tasks.forecasting.results import LEVELS, Forecast, make_forecast
from rnnkit.tasks.forecasting.windows import Views, joined


class ForecastRunner(Runner):
    """A forecaster; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.facts, self.memory = Facts.load(folder), Histories.load(folder / "history")
        self.views = Views.learnt(self.facts, self.config, horizon=self.config.horizon)

    def predict(self, inputs: Sequence[Any] | None = None) -> list[Forecast]:
        """Forecast from the last known step, as `Forecasting.predict` does: names of series, or values of others."""
        given = self.memory.names.tolist() if inputs is None else list(inputs)
        others = [one for one in given if not isinstance(one, str)]
        unknown, unnamed = given_series(others, self.facts, self.config) if others else self.memory, count()
        return [
            self._forecast(self.memory, int(self.memory.find([one])[0]))
            if isinstance(one, str)
            else self._forecast(unknown, next(unnamed))
            for one in given
        ]

    def _forecast(self, histories: Histories, index: int) -> Forecast:
        series, seen, name = np.array([index]), histories.values.lengths[[index]], str(histories.names[index])
        self.facts.warn_of_unknown(name, histories.ahead[index][: self.config.horizon])
        start = np.zeros_like(seen) if self.views.context is None else np.maximum(seen - self.views.context, 0)
        steps = self.views.inputs(histories, series, start, seen - start)
        hidden = self.graphs["reader"].read(steps)[0][:, -1]
        ahead = joined(self.views.ahead_of(histories, series, seen))
        (quantiles,), _ = self.graphs["head"].run(hidden, ahead)
        shaped = quantiles.astype(np.float64).reshape(1, self.config.horizon, len(LEVELS))
        own = in_own_unit(shaped, histories, np.stack([series, seen], axis=1))[0]
        first = int(histories.first[index] + seen[0])
        return make_forecast(name, self.facts.frequency, first, self.facts.restored(own))
