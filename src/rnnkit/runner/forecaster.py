"""Forecasters, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.runner.base import Runner
from rnnkit.tasks.forecasting.examples import unknown_series
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.history import Histories, in_own_unit
from rnnkit.tasks.forecasting.results import LEVELS, Forecast, make_forecast
from rnnkit.tasks.forecasting.values import as_values
from rnnkit.tasks.forecasting.windows import Views, joined


class ForecastRunner(Runner):
    """A forecaster; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.facts, self.memory = Facts.load(folder), Histories.load(folder / "history")
        self.views = Views.learnt(self.facts, self.config, horizon=self.config.horizon)

    def predict(self, inputs: Sequence[Any] | None = None) -> list[Forecast]:
        """Forecast from the last known step, as `Forecasting.predict` does: names of series, or values of others."""
        found = []
        for one in self.memory.names.tolist() if inputs is None else inputs:
            if isinstance(one, str):
                found.append(self._forecast(self.memory, int(self.memory.find([one])[0])))
            else:
                found.append(self._forecast(unknown_series([as_values(one)], self.facts, self.config), 0))
        return found

    def _forecast(self, histories: Histories, index: int) -> Forecast:
        series, seen = np.array([index]), histories.values.lengths[[index]]
        start = 0 if self.views.context is None else max(int(seen[0]) - self.views.context, 0)
        reader, count = self.graphs["reader"], int(seen[0]) - start
        hidden = np.zeros((1, self.graphs["head"].size_of("hidden")), dtype=np.float32)
        if count:
            steps = self.views.inputs(histories, series, np.array([start]), np.array([count]))
            hidden = reader.read(steps)[0][:, -1]
        ahead = joined(self.views.ahead_of(histories, series, seen))
        (quantiles,), _ = self.graphs["head"].run(hidden, ahead)
        shaped = quantiles.astype(np.float64).reshape(1, self.config.horizon, len(LEVELS))
        own = in_own_unit(shaped, histories, np.stack([series, seen], axis=1))[0]
        first = int(histories.first[index] + seen[0])
        return make_forecast(str(histories.names[index]), self.facts.frequency, first, self.facts.restored(own))
