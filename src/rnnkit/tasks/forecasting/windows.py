"""Windows of series as a network sees them: what is known at each step, and of each step ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np

from rnnkit.data.stamps import Frequency
from rnnkit.tasks.forecasting.calendar import calendar_features, calendar_periods
from rnnkit.tasks.forecasting.history import Histories, Lags, look_back, scale_at, targets

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.config import ForecastingConfig
    from rnnkit.tasks.forecasting.facts import Facts

LEAST_WEIGHT = 0.1
DEFAULT_HALF_LIFE = 48.0  # steps, where no season is known
Numbers = TypeVar("Numbers")  # arrays, or tensors
SCALE_CHANGE = 10.0  # the logarithm of the spread's growth in a step is small


@dataclass(frozen=True)
class Ahead(Generic[Numbers]):
    """What a forecast knows at its origins, and what came.

    Attributes:
        known: (origins, horizon, known_size) float32: the calendar and the columns known ahead.
        lagged: (origins, horizon, lags) float32 in units of the scale, NaN where there is none.
        recent: (origins, recent) float32 the last values, likewise, the newest first; one that is missing is the one
            before it, NaN where these are missing too.
        beside: (origins, 2 x columns) float32 what is known beside the last one.
        targets: (origins, horizon) float32 likewise.
        scale: (origins, 2) float32 level and spread.
        weights: (origins,) float32 of errors in units of the scale: how it compares with the series' usual one.
    """

    known: Numbers
    lagged: Numbers
    recent: Numbers
    beside: Numbers
    targets: Numbers
    scale: Numbers
    weights: Numbers


@dataclass(frozen=True)
class Views:
    """How windows become features.

    Attributes:
        frequency: Of the steps.
        lags: Which steps of the past say most of a step ahead.
        columns: Names of what is known of each step besides.
        ahead: How many of these are known ahead too; they come first.
        context: How many steps before an origin the network reads, if not all; their scale is then that of the last.
        recent: How many last values are regressed on.
        horizon: Steps of a forecast; `lags` may be of the next one alone, where it is drawn step by step.
        half_life: A value counts half in the running scales after so many steps.
    """

    frequency: Frequency
    lags: Lags
    columns: tuple[str, ...]
    ahead: int
    context: int | None
    recent: int
    horizon: int
    half_life: float

    @classmethod
    def learnt(cls, facts: Facts, config: ForecastingConfig, *, horizon: int) -> Self:
        """Return the views of a model whose features of steps ahead are of so many steps."""
        half_life = half_life_of(facts, config)
        return cls(
            facts.frequency,
            Lags(facts.seasons, horizon),
            facts.features,
            facts.ahead,
            config.context,
            recent=facts.recent,
            horizon=config.horizon,
            half_life=half_life,
        )

    @property
    def look_back(self) -> int:
        """How many last steps forecasts look back on, and the features of a new step do."""
        return self.context if self.context is not None else max(self.lags.longest + 1, self.recent)

    @property
    def input_size(self) -> int:
        """Features of a step."""
        return 4 + 2 * len(self.lags.seasons) + self.calendar_size + 2 * len(self.columns)

    @property
    def known_size(self) -> int:
        """Features of a step ahead."""
        return self.calendar_size + 2 * self.ahead

    @property
    def regressed_size(self) -> int:
        """Features of an origin that steps ahead are regressed on."""
        return self.recent + 2 * len(self.columns)

    @property
    def calendar_size(self) -> int:
        """Features of the calendar."""
        return 2 * len(calendar_periods(self.frequency))

    def inputs(self, histories: Histories, series: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return what is known at each step of windows, in units of the scale at the step.

        Args:
            histories: The series.
            series: (windows,) which.
            starts: (windows,) the first step of each within its series.
            lengths: (windows,) steps of each, at least one.

        Returns:
            (windows, time, input_size) float32, of no meaning past each length.
        """
        ends = starts + lengths - 1
        places = np.minimum(starts[:, None] + np.arange(lengths.max()), ends[:, None])
        flat = places + histories.offsets[series][:, None]
        scaled = flat if self.context is None else (ends + histories.offsets[series])[:, None]
        level, spread = histories.level[scaled], histories.spread[scaled]
        earliest = np.zeros_like(starts) if self.context is None else starts
        before = np.maximum(flat - 1, (histories.offsets[series] + earliest)[:, None])
        raw = histories.values.values
        now = (raw[flat] - level) / spread
        features = [_flat(now), ~np.isnan(now), _flat((raw[flat] - raw[before]) / spread)]
        features.append(SCALE_CHANGE * np.log(histories.spread[flat] / histories.spread[before]))
        for season in self.lags.seasons:
            there = places - season >= earliest[:, None]
            past = np.where(there, (raw[np.where(there, flat - season, flat)] - level) / spread, np.nan)
            features += [_flat(past), ~np.isnan(past)]
        parts = [np.stack([one.astype(np.float32) for one in features], axis=-1)]
        parts.append(calendar_features(self.frequency, histories.first[series][:, None] + places))
        parts.append(self._beside(histories, series, places, columns=len(self.columns)))
        return np.concatenate(parts, axis=-1)

    def ahead_of(self, histories: Histories, series: np.ndarray, origins: np.ndarray) -> Ahead[np.ndarray]:
        """Return what is known at origins of the steps ahead, and what came.

        Args:
            histories: The series.
            series: (origins,) which.
            origins: (origins,) how many of its steps are seen.

        Returns:
            Known and came.
        """
        places = origins[:, None] + np.arange(self.lags.horizon)
        behind = places[..., None] - self.lags.behind
        lagged = look_back(histories, series, behind, origins=origins, context=self.context)
        newest = origins[:, None] - 1 - np.arange(self.recent)
        recent = _older_for_missing(look_back(histories, series, newest, origins=origins, context=self.context))
        beside = self._beside(histories, series, newest[:, :1], columns=len(self.columns))[:, 0]
        level, spread = scale_at(histories, series, origins)
        came = (targets(histories, series, origins, horizon=self.lags.horizon) - level[:, None]) / spread[:, None]
        known = [
            calendar_features(self.frequency, histories.first[series][:, None] + places),
            self._beside(histories, series, places, columns=self.ahead),
        ]
        weights = np.clip(spread / histories.usual_spread[series], LEAST_WEIGHT, 1 / LEAST_WEIGHT)
        parts = (
            np.concatenate(known, axis=-1),
            lagged,
            recent,
            beside,
            came,
            np.stack([level, spread], axis=1),
            weights,
        )
        return Ahead(*(part.astype(np.float32) for part in parts))

    def _beside(self, histories: Histories, series: np.ndarray, places: np.ndarray, *, columns: int) -> np.ndarray:
        """Return columns beside the values at some steps, 0 where one is missing, and which are there."""
        if not columns:
            return np.zeros((*places.shape, 0), dtype=np.float32)
        beside = histories.beside
        lengths = beside.lengths[series][:, None]
        inside = places < lengths
        offsets = (beside.ends - beside.lengths)[series][:, None]
        found = beside.values[offsets + np.where(inside, places, 0), :columns]
        found = np.where(inside[..., None], found, np.float32("nan"))
        return np.concatenate([np.nan_to_num(found), ~np.isnan(found)], axis=-1, dtype=np.float32)


def joined(ahead: Ahead[np.ndarray]) -> np.ndarray:
    """Return all numbers of each origin in a row, (origins, size)."""
    return np.concatenate([part.reshape(len(part), -1) for part in vars(ahead).values()], axis=1)


def half_life_of(facts: Facts, config: ForecastingConfig) -> float:
    """Return after how many steps a value counts half in the running scales."""
    return config.half_life or float(max(facts.seasons, default=DEFAULT_HALF_LIFE))


def _older_for_missing(values: np.ndarray) -> np.ndarray:
    """Replace NaN in (rows, values), newest first, by the next value of the row that is none."""
    count = values.shape[1]
    places = np.where(np.isnan(values), count, np.arange(count))
    older = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
    return np.take_along_axis(np.pad(values, ((0, 0), (0, 1)), constant_values=np.nan), older, axis=1)


def _flat(values: np.ndarray) -> np.ndarray:
    """Bend large values down, and put 0 where one is missing."""
    return np.arcsinh(np.where(np.isnan(values), 0.0, values))  # a tenth of the time of nan_to_num
