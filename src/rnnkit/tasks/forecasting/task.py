"""Forecasting: quantiles of the next steps of series, from all of their past."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from rnnkit.baselines.forecasts import METHODS
from rnnkit.data.panel import Panel
from rnnkit.data.ragged import Buckets
from rnnkit.data.samples import sample_path
from rnnkit.errors import CheckpointError
from rnnkit.kernels import State
from rnnkit.metrics.forecasts import forecast_metrics
from rnnkit.tasks.base import Loss, Task
from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.examples import Part, encode_part, read_panels, split_in_time
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.history import Histories, Lags, naive_scales, targets
from rnnkit.tasks.forecasting.network import LEVELS, ForecastNetwork, QuantileHead, pinball_loss
from rnnkit.tasks.forecasting.origins import forecast_origins
from rnnkit.tasks.forecasting.training_windows import TrainingWindows, WindowBatch
from rnnkit.tasks.forecasting.windows import Views

MOST_STEPS = 65_536  # padded steps of a training batch
MOST_TARGET = 100.0  # in units of the spread; of what lies further away, training learns no more
QUICK_ORIGINS = 2000
BASELINE_STEPS = 1024  # of a history that Theta looks back on


class Forecasting(Task):
    """A forecaster of series: how the next steps are distributed, told from every step before.

    Args:
        config: Its options.
        facts: What the training series taught.
        memory: The series up to the present, which forecasts go on from.
    """

    name: ClassVar[str] = "forecasting"
    aliases: ClassVar[tuple[str, ...]] = ("forecast",)
    config_class: ClassVar[type] = ForecastingConfig
    objective: ClassVar[str] = "sql"
    baseline_name: ClassVar[str] = "seasonal naive"
    unit: ClassVar[str] = "values"
    training_defaults: ClassVar[Mapping[str, Any]] = {"learning_rate": 0.003, "weight_decay": 0.01}
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model}", "stream {model} < TICKS")

    config: ForecastingConfig
    network: ForecastNetwork

    def __init__(self, config: ForecastingConfig, facts: Facts, memory: Histories) -> None:
        self.config, self.facts, self.memory = config, facts, memory
        lags = Lags(facts.seasons, config.horizon)
        self.views = Views(facts.frequency, lags, facts.features, facts.ahead, config.context)
        head = QuantileHead(
            config.projection_size or config.hidden_size,
            self.views.known_size,
            lags=lags.behind.shape[1],
            horizon=config.horizon,
            hidden_size=config.hidden_size,
        )
        self.network = ForecastNetwork(config.make_stack(self.views.input_size), head)

    # Data

    @classmethod
    def read(cls, paths: Sequence[str | Path], config: ForecastingConfig) -> Part:
        """Read series."""
        return Part(read_panels(paths, config.columns))

    @classmethod
    def split(cls, examples: Part, config: ForecastingConfig) -> tuple[Part, Part, str]:
        """Keep the last steps of every series for validation."""
        return split_in_time(examples.panel, config)

    @classmethod
    def prepare(cls, examples: Part, config: ForecastingConfig, *, start: Self | None = None) -> Self:
        """Learn seasons, sizes and categories from the training series, and draw a network or take a trained one's."""
        facts = Facts.learn(examples.panel, config) if start is None else start.facts
        task = cls(config, facts, encode_part(examples, facts, config))
        if start is not None:
            task.network.load_state_dict(start.network.state_dict())
        return task

    def notes(self) -> list[str]:
        """Say what was noticed in the files."""
        return list(self.facts.notes)

    def encode(self, examples: Part, folder: Path | None = None) -> Histories:
        """Lay series end to end with their running scales."""
        data = encode_part(examples, self.facts, self.config)
        if folder is not None:
            data.save(folder)
        return data

    @classmethod
    def load_data(cls, folder: Path) -> Histories:
        """Read series that a run has saved."""
        return Histories.load(folder)

    # Training

    def batches(
        self, data: Histories, *, batch_size: int, seed: int, part: tuple[int, int] = (0, 1)
    ) -> Buckets[WindowBatch]:
        """Batch windows of like length."""
        windows = TrainingWindows.cover(data, self.views)
        return Buckets(
            windows.lengths, windows.batch, batch_size=batch_size, most_steps=MOST_STEPS, seed=seed, part=part
        )

    def loss(self, batch: WindowBatch, carry: State | None = None, *, label_smoothing: float = 0.0) -> Loss:
        """Compute the quantile loss of all steps ahead, in units of each series' spread."""
        del carry, label_smoothing
        device = self.network.device
        outputs, _ = self.network(batch.inputs.to(device), batch.lengths.to(device))
        ahead = batch.ahead
        known, lagged, last, came = (part.to(device) for part in (ahead.known, ahead.lagged, ahead.last, ahead.targets))
        quantiles = self.network.head(outputs[batch.rows, batch.places], known, lagged, last)
        losses, seen = pinball_loss(quantiles, came.clamp(-MOST_TARGET, MOST_TARGET))
        return Loss(losses.sum(), int(seen.sum()))

    def depths(self) -> list[nn.Module]:
        """The layers, then the head."""
        return list(self.network.stack.layers)

    # Scoring

    def quantiles(self, data: Histories, origins: np.ndarray) -> np.ndarray:
        """Forecast from origins, (origins, 2): (origins, horizon, levels) in the series' own unit."""
        return self.facts.restored(forecast_origins(self.network, self.views, data, origins))

    def quick_score(self, data: Histories) -> float:
        """Measure the scaled quantile loss from at most QUICK_ORIGINS origins."""
        step = max(1, -(-len(data.origins) // QUICK_ORIGINS))
        return self._measure(data, data.origins[::step])[self.objective]

    def score(self, data: Histories) -> dict[str, float]:
        """Measure every metric over all origins."""
        return self._measure(data, data.origins)

    def _measure(self, data: Histories, origins: np.ndarray) -> dict[str, float]:
        quantiles = self.quantiles(data, origins)
        return forecast_metrics(self.actual(data, origins), quantiles, LEVELS, self._scales(data, origins))

    def actual(self, data: Histories, origins: np.ndarray) -> np.ndarray:
        """Return what came after origins, (origins, horizon) in the series' own unit."""
        series, seen = origins.T
        return self.facts.restored(targets(data, series, seen, horizon=self.config.horizon))

    def _scales(self, data: Histories, origins: np.ndarray) -> np.ndarray:
        measured = replace(data, values=replace(data.values, values=self.facts.restored(data.values.values)))
        return naive_scales(measured, origins, season=self.facts.season)

    def calibrate(self, data: Histories) -> bool:
        """Remember the series up to the present: validation data goes on further than what was learnt from."""
        self.memory = data
        return True

    # The baselines

    def fit_baseline(self, data: Histories) -> Mapping[str, Any]:
        """Return the methods, which have nothing to learn."""
        del data
        return METHODS

    def save_baseline(self, baseline: Mapping[str, Any], folder: Path) -> None:
        """Write nothing: the methods look at each history alone."""
        del baseline, folder

    def load_baseline(self, folder: Path) -> Mapping[str, Any]:
        """Return the methods."""
        del folder
        return METHODS

    def score_baseline(self, baseline: Mapping[str, Any], data: Histories) -> dict[str, float]:
        """Measure the seasonal naive forecast from the same origins."""
        return self.score_method(baseline[self.baseline_name], data)

    def score_method(self, method: Any, data: Histories) -> dict[str, float]:
        """Measure forecasts of single values as quantiles that are all the same."""
        forecasts = self.forecast_by(method, data, data.origins)
        same = np.repeat(forecasts[..., None], len(LEVELS), axis=-1)
        metrics = forecast_metrics(self.actual(data, data.origins), same, LEVELS, self._scales(data, data.origins))
        return {name: value for name, value in metrics.items() if name not in ("coverage", "width", "msis")}

    def forecast_by(self, method: Any, data: Histories, origins: np.ndarray) -> np.ndarray:
        """Forecast by a method without a network, (origins, horizon); a missing value is the one before it."""
        filled = [_filled(self.facts.restored(data.values[index])) for index in range(len(data))]
        pasts = [filled[series][max(seen - BASELINE_STEPS, 0) : seen] for series, seen in origins.tolist()]
        return method(pasts, self.config.horizon, self.facts.season)

    def read_inputs(self, path): ...
    def predict(self, inputs, *, candidates=10): ...
    def show(self): return []
    def stream(self, *, candidates=5): ...

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample."""
        return sample_path("series")

    def save_assets(self, folder: Path) -> None:
        """Write facts.json and history/."""
        (folder / "facts.json").write_text(json.dumps(self.facts.to_dict()))
        self.memory.save(folder / "history")

    @classmethod
    def load_assets(cls, folder: Path, config: ForecastingConfig) -> Self:
        """Rebuild a forecaster from what `save_assets` wrote.

        Returns:
            The forecaster, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        path = folder / "facts.json"
        try:
            facts = Facts.from_dict(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read ({error!r}); copy the model again") from error
        return cls(config, facts, Histories.load(folder / "history"))


def _filled(values: np.ndarray) -> np.ndarray:
    """Put the value before it where one is missing; the first one before the beginning."""
    seen = ~np.isnan(values)
    places = np.maximum.accumulate(np.where(seen, np.arange(len(values)), 0))
    return np.where(np.isnan(values[places]), values[int(seen.argmax())], values[places])
