"""Forecasting: quantiles of the next steps of series, from all of their past."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from rnnkit.baselines.forecasts import METHODS
from rnnkit.data.panel import Panel
from rnnkit.data.panel_files import read_panel_file, read_panel_frame
from rnnkit.data.ragged import Buckets
from rnnkit.data.samples import sample_path
from rnnkit.errors import CheckpointError, ConfigError
from rnnkit.figures import MOST_PANELS, forecast_panels
from rnnkit.kernels import State
from rnnkit.tasks.base import Comparison, Loss, Task
from rnnkit.tasks.forecasting.ahead import placed
from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.examples import (
    Part,
    continue_known,
    encode_part,
    given_series,
    new_steps,
    read_panels,
    split_in_time,
    unknown_series,
    warn_of_known,
)
from rnnkit.tasks.forecasting.facts import Facts
from rnnkit.tasks.forecasting.heads import HEADS, Head, fit_stretch
from rnnkit.tasks.forecasting.history import QUICK_DRAWN, QUICK_ORIGINS, Histories, some_origins, targets
from rnnkit.tasks.forecasting.network import ForecastNetwork, ensemble_of
from rnnkit.tasks.forecasting.origins import forecast_origins
from rnnkit.tasks.forecasting.present import Present
from rnnkit.tasks.forecasting.reader import Reader
from rnnkit.tasks.forecasting.regression import Regression, fit_regression
from rnnkit.tasks.forecasting.results import LEVELS, Forecast, make_forecast
from rnnkit.tasks.forecasting.scoring import Origins, compare, worst_panels
from rnnkit.tasks.forecasting.stream import ForecastStream
from rnnkit.tasks.forecasting.ticker import Ticker
from rnnkit.tasks.forecasting.training_windows import TrainingWindows, WindowBatch
from rnnkit.tasks.forecasting.windows import Views
from rnnkit.tasks.weights import take_weights

MOST_STEPS = 65_536  # padded steps of a training batch
SHOWN_STEPS = 8
QUICK_METHODS = ("naive", "seasonal naive")


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
    begins_fitted: ClassVar[bool] = True
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 0.002,
        "weight_decay": 0.01,
        "max_epochs": 10.0,
        "validations": 20,
    }
    uses: ClassVar[tuple[str, ...]] = ("evaluate {model} FILE", "predict {model}", "stream {model} < TICKS")

    config: ForecastingConfig
    network: ForecastNetwork

    def __init__(self, config: ForecastingConfig, facts: Facts, memory: Histories) -> None:
        self.config, self.facts, self.memory = config, facts, memory
        self._present: Present | None = None
        head_class = HEADS[config.distribution]
        self.views = Views.learnt(facts, config, horizon=1 if head_class.sampled else config.horizon)
        networks = [self._draw_network(head_class) for _ in range(config.members)]
        self.network = networks[0] if len(networks) == 1 else ensemble_of(networks)
        self.reader = Reader(self.network, self.views)

    def _draw_network(self, head_class: type[Head]) -> ForecastNetwork:
        lags = self.views.lags
        head = head_class(
            self.config.projection_size or self.config.hidden_size,
            self.views.known_size,
            lags=lags.behind.shape[1],
            regression=Regression(self.views.regressed_size, self.views.known_size, horizon=lags.horizon),
            hidden_size=self.config.hidden_size,
            dropout=self.config.dropout,
        )
        return ForecastNetwork(self.config.make_stack(self.views.input_size), head)

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
        if start is None:
            first, *others = task.network.head.regressions
            fit_regression(first, task.views, task.memory)
            for one in others:
                one.load_state_dict(first.state_dict())
        else:
            take_weights(task.network, start.network)
        return task

    def notes(self) -> list[str]:
        """Say what was noticed in the files."""
        return list(self.facts.notes)

    def check(self, examples: Part) -> None:
        """Warn where validation steps are learnt from."""
        warn_of_known(examples, self.memory, self.facts, self.config)

    def encode(self, examples: Part, folder: Path | None = None) -> Histories:
        """Lay series end to end with their running scales; what has no history is put after the one remembered."""
        if examples.seen is None:
            data = continue_known(examples.panel, self.memory, self.facts, self.config)
        else:
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
        """Compute the quantile loss of all steps ahead, or the negative log-likelihood of the next one."""
        del carry, label_smoothing
        device = self.network.device
        outputs, _ = self.network(batch.inputs.to(device), batch.lengths.to(device))
        ahead = placed(batch.ahead, device)
        losses, seen = self.network.head.loss(outputs[batch.rows, batch.places], ahead)
        return Loss(losses.sum(), int(seen.sum()))

    def depths(self) -> list[nn.Module]:
        """The layers, then the head."""
        return list(self.network.stack.layers)

    # Scoring

    def quantiles(self, data: Histories, origins: np.ndarray) -> np.ndarray:
        """Forecast from origins, (origins, 2): (origins, horizon, levels) in the series' own unit."""
        return self.facts.restored(forecast_origins(self.network, self.views, data, origins))

    def quick_score(self, data: Histories) -> float:
        """Measure the scaled quantile loss from some of the origins."""
        origins = some_origins(data, most=QUICK_DRAWN if self.network.head.sampled else QUICK_ORIGINS)
        return self._measure(data, origins)[self.objective]

    def score(self, data: Histories) -> dict[str, float]:
        """Measure every metric over all origins."""
        return self._measure(data, data.origins)

    def _measure(self, data: Histories, origins: np.ndarray) -> dict[str, float]:
        return Origins(self, data, origins).measured(self.quantiles(data, origins))

    def compare(self, baseline: int | None, data: Histories) -> Comparison:
        """Measure the model and the methods without a network; without a baseline, the quick ones of them."""
        quick = baseline is None
        return compare(self, data, methods=QUICK_METHODS if quick else tuple(METHODS), owa=not quick)

    def draw(self, data: Histories, folder: Path, *, title: str) -> list[Path]:
        """Draw the worst forecasts, and what came."""
        path = folder / "forecasts.png"
        forecast_panels(worst_panels(self, data, most=MOST_PANELS), path, title=f"{title}: the worst forecasts")
        return [path]

    def calibrate(self, data: Histories) -> bool:
        """Stretch the quantiles until they hold their shares, and remember the series up to the present."""
        origins, head = some_origins(data), self.network.head
        head.stretch_by(torch.ones(len(LEVELS)))  # an interrupted run has been calibrated when it goes on
        quantiles = forecast_origins(self.network, self.views, data, origins)
        came = targets(data, *origins.T, horizon=self.config.horizon)
        head.stretch_by(torch.from_numpy(fit_stretch(quantiles, came)))
        self.memory = data
        self._present = None
        return True

    # The baselines

    def fit_baseline(self, data: Histories) -> int:
        """Return the season: all that the methods take from the training series."""
        del data
        return self.facts.season

    def save_baseline(self, baseline: int, folder: Path) -> None:
        """Write season.json."""
        (folder / "season.json").write_text(json.dumps(baseline))

    def load_baseline(self, folder: Path) -> int:
        """Read the season.

        Returns:
            Its steps.

        Raises:
            CheckpointError: If it is damaged.
        """
        try:
            return int(json.loads((folder / "season.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{folder / 'season.json'} cannot be read ({error!r}); start a new run") from error

    def score_baseline(self, baseline: int, data: Histories) -> dict[str, float]:
        """Measure the seasonal naive forecast from the same origins."""
        del baseline
        origins = Origins(self, data, data.origins)
        return origins.measured_points(origins.by_method(METHODS[self.baseline_name]))

    # Use

    @property
    def present(self) -> Present:
        """The series as they are now; read when it is first asked for."""
        if self._present is None:
            self._present = Present.read(self.network, self.views, self.memory)
        return self._present

    def update(self, data: Any) -> list[str]:
        """Move on by new observations: what has been read is not read again.

        Steps between the last one and a new one have no value. An observation of a step that is over counts no more.

        Args:
            data: A pandas or polars frame, a mapping of columns, or a Panel.

        Returns:
            Names of the series that moved on.

        Raises:
            DataError: If a series is unknown, or a time on no step.
        """
        columns, frequency = self.config.columns, self.facts.frequency
        panel = data if isinstance(data, Panel) else read_panel_frame(data, columns, frequency=frequency)
        values, beside, moved = new_steps(panel, self.present.tail, self.facts, self.config)
        self._present = self.present.push(self.reader, values, beside)
        return moved

    def present_of(self, series: str | None) -> Present:
        """Return the present of a known series alone, or of one that has not begun."""
        if series is not None:
            return self.present.alone(int(self.memory.find([series])[0]))
        empty = unknown_series([np.empty(0)], self.facts, self.config)
        return Present.read(self.network, self.views, empty)

    def predict(
        self, inputs: Sequence[Any] | None = None, *, horizon: int | None = None, candidates: int = 10
    ) -> list[Forecast]:
        """Forecast from the present.

        Args:
            inputs: Names of known series, or the values of unknown ones, (time,) each; None takes all known ones.
            horizon: Steps; None is as many as the model was trained for.
            candidates: Unused.

        Returns:
            One result a series.

        Raises:
            DataError: If a series is unknown.
            ConfigError: If the horizon is longer than the model's.
        """
        del candidates
        if horizon is not None and not 1 <= horizon <= self.config.horizon:
            raise ConfigError(
                f"horizon is {horizon}; the model forecasts 1 to {self.config.horizon} steps: train one for more"
            )
        given = self.memory.names.tolist() if inputs is None else list(inputs)
        found: dict[int, Forecast] = {}
        named = [place for place, one in enumerate(given) if isinstance(one, str)]
        chosen = self.memory.find([given[place] for place in named])
        found |= zip(named, self._from_now(self.present, chosen, horizon) if named else (), strict=True)
        others = [place for place in range(len(given)) if place not in found]
        if others:
            unknown = given_series([given[place] for place in others], self.facts, self.config)
            now = Present.read(self.network, self.views, unknown)
            found |= zip(others, self._from_now(now, np.arange(len(others)), horizon), strict=True)
        return [found[place] for place in range(len(given))]

    def _from_now(self, now: Present, chosen: np.ndarray, horizon: int | None) -> list[Forecast]:
        """Forecast some series from a present, and warn where what should be known ahead is not."""
        steps = horizon or self.config.horizon
        for index in chosen.tolist():
            self.facts.warn_of_unknown(str(now.tail.names[index]), now.tail.ahead[index][:steps])
        quantiles = self.facts.restored(now.forecast(self.network, self.views, chosen))[:, :horizon]
        ends = (now.tail.first + now.tail.values.lengths)[chosen].tolist()
        return [
            make_forecast(str(name), self.facts.frequency, end, one)
            for name, end, one in zip(now.tail.names[chosen], ends, quantiles, strict=True)
        ]

    def read_inputs(self, path: Path) -> list[str]:
        """Move on by the observations of a file, and name its series."""
        return self.update(read_panel_file(path, self.config.columns, frequency=self.facts.frequency))

    def show(self) -> list[str]:
        """Forecast the first series."""
        (found,) = self.predict(self.memory.names[:1].tolist())
        low, high = found.quantiles["0.1"], found.quantiles["0.9"]
        steps = list(zip(found.times, found.median, low, high, strict=True))[:SHOWN_STEPS]
        return ["", *(f"{time}  {value:.5g}  ({least:.5g} to {most:.5g})" for time, value, least, most in steps)]

    def stream(self, *, candidates: int = 5, series: str | None = None) -> ForecastStream:
        """Go on with a known series, by its name, or begin a new one."""
        del candidates
        return ForecastStream(self, series=series)

    def pack(self, dtype: str = "float32") -> dict[str, str]:
        self.reader = Reader(self.network, self.views, dtype=dtype)
        return super().pack(dtype)

    def ticker(self) -> Ticker:
        """Begin to follow all known series at once."""
        return Ticker(self)

    def recent(self, series: str) -> np.ndarray:
        """Return the last known values of a series, as many as forecasts look back on."""
        tail, index = self.present.tail, int(self.memory.find([series])[0])
        return self.facts.restored(tail.values[index])

    # Saving

    @classmethod
    def demo_data(cls) -> Path:
        """Return the bundled sample: four years of weather, a day a row."""
        return sample_path("weather")

    def save_assets(self, folder: Path) -> None:
        """Write facts.json and history/."""
        self.facts.save(folder)
        self.memory.save(folder / "history")

    @classmethod
    def load_assets(cls, folder: Path, config: ForecastingConfig) -> Self:
        """Rebuild a forecaster from what `save_assets` wrote.

        Returns:
            The forecaster, with new weights.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        return cls(config, Facts.load(folder), Histories.load(folder / "history"))
