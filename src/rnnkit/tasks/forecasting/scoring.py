"""How good a forecaster is: its metrics, those of methods without a network, and whether it is really better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.baselines.forecasts import METHODS, Method, fill_forward, naive2
from rnnkit.errors import ConfigError
from rnnkit.figures import ForecastPanel
from rnnkit.metrics.forecasts import diebold_mariano, forecast_metrics, naive_scales, overall_weighted_average
from rnnkit.tasks.base import Comparison
from rnnkit.tasks.forecasting.examples import step_number
from rnnkit.tasks.forecasting.history import Histories, rolling_origins, some_origins, targets
from rnnkit.tasks.forecasting.results import LEVELS, MEDIAN, make_forecast, stamp_words

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.task import Forecasting

BASELINE_STEPS = 1024  # of a history that the methods look back on
LEAST_COMPARED = 8  # times, or series, for a test to say something
SIGNIFICANT, LEAST_SHOWN = 0.05, 0.001
OF_INTERVALS = ("coverage", "width", "msis")


class Origins:
    """What came after some origins, and how it is measured.

    Args:
        model: Says the unit and the season.
        data: The series.
        origins: (origins, 2) a series, and how many of its steps are seen.
    """

    def __init__(self, model: Forecasting, data: Histories, origins: np.ndarray) -> None:
        self.model, self.data, self.origins = model, data, origins
        self.actual: np.ndarray = model.facts.restored(targets(data, *origins.T, horizon=model.config.horizon))

    @cached_property
    def scales(self) -> np.ndarray:
        """(origins,) what errors are measured in."""
        facts, (series, seen) = self.model.facts, self.origins.T
        scales = np.full(len(series), np.nan)
        for index in np.unique(series).tolist():
            here = series == index
            scales[here] = naive_scales(facts.restored(self.data.values[index]), seen[here], season=facts.season)
        return scales

    @cached_property
    def pasts(self) -> list[np.ndarray]:
        """What methods look back on at each origin, (time,) each; a missing value is the one before it."""
        restored = self.model.facts.restored
        filled = [fill_forward(restored(self.data.values[index])) for index in range(len(self.data))]
        return [filled[series][max(seen - BASELINE_STEPS, 0) : seen] for series, seen in self.origins.tolist()]

    def measured(self, quantiles: np.ndarray) -> dict[str, float]:
        """Measure quantiles, (origins, horizon, levels)."""
        return forecast_metrics(self.actual, quantiles, LEVELS, self.scales)

    def by_method(self, method: Method) -> np.ndarray:
        """Forecast without a network, (origins, horizon)."""
        return method(self.pasts, self.model.config.horizon, self.model.facts.season)

    def measured_points(self, forecasts: np.ndarray) -> dict[str, float]:
        """Measure forecasts of single values, (origins, horizon), as quantiles that are all the same."""
        metrics = self.measured(np.repeat(forecasts[..., None], len(LEVELS), axis=-1))
        return {name: value for name, value in metrics.items() if name not in OF_INTERVALS}

    def losses(self, forecasts: np.ndarray) -> np.ndarray:
        """Return the mean absolute error of every origin's forecast in units of its scale, (origins,) with NaN."""
        seen = ~np.isnan(self.actual)
        errors = np.where(seen, np.abs(forecasts - self.actual), 0.0).sum(1)
        usable = seen.any(1) & (self.scales > 0)
        return np.divide(errors, seen.sum(1) * self.scales, out=np.full(len(errors), np.nan), where=usable)


def compare(model: Forecasting, data: Histories, *, methods: tuple[str, ...], owa: bool = False) -> Comparison:
    """Measure a model and methods without a network from the same origins.

    Args:
        model: The model.
        data: The series and the origins.
        methods: Names of methods.
        owa: Measure the overall weighted average too, which takes another method.

    Returns:
        The metrics; against each method the skill score (the share of its MASE that the model is spared), the
        Diebold-Mariano statistic, below 0 where the model errs less, and its p-value, NaN where there are too few
        forecasts; and a sentence.
    """
    origins = Origins(model, data, data.origins)
    quantiles = model.quantiles(data, data.origins)
    metrics, own = origins.measured(quantiles), origins.losses(quantiles[..., MEDIAN])
    baselines: dict[str, dict[str, float]] = {}
    against: dict[str, dict[str, float]] = {}
    for name in methods:
        forecasts = origins.by_method(METHODS[name])
        baselines[name] = origins.measured_points(forecasts)
        statistic, chance = _tested(model, data, own, origins.losses(forecasts))
        skill = 1 - metrics["mase"] / baselines[name]["mase"]
        against[name] = {"skill": skill, "diebold_mariano": statistic, "p": chance}
    if owa:
        of_naive2 = origins.measured_points(origins.by_method(naive2))
        for one in (metrics, *baselines.values()):
            one["owa"] = overall_weighted_average(one, of_naive2)
    return Comparison(metrics, baselines, against, (_verdict(baselines, against),))


def _tested(model: Forecasting, data: Histories, own: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Test whether losses differ: over time, or where there are too few times, over series."""
    usable = ~np.isnan(own + others)
    series, seen = data.origins[usable].T
    own, others, times = own[usable], others[usable], (data.first[series] + seen)
    stamps = np.unique(times)
    spacing = int(np.diff(stamps).min()) if len(stamps) > 1 else 1
    overlapping = -(-model.config.horizon // spacing)
    if len(stamps) >= max(LEAST_COMPARED, 2 * overlapping):
        parts = [times == stamp for stamp in stamps]
    else:
        parts, overlapping = [series == index for index in np.unique(series)], 1
    if len(parts) < LEAST_COMPARED:
        return math.nan, math.nan
    means = np.array([(own[part].mean(), others[part].mean()) for part in parts])
    return diebold_mariano(means[:, 0], means[:, 1], horizon=overlapping)


def _verdict(baselines: Mapping[str, Mapping[str, float]], against: Mapping[str, Mapping[str, float]]) -> str:
    """Say whether the model is better than the best method."""
    best = min(baselines, key=lambda name: baselines[name]["mase"])
    skill, chance = against[best]["skill"], against[best]["p"]
    than = f"{abs(skill):.1%} {'below' if skill > 0 else 'above'} that of {best}, the best simple method"
    if math.isnan(chance):
        return f"The model's MASE is {than}; these are too few forecasts to tell whether by chance."
    words = f"p = {chance:.2g}" if chance >= LEAST_SHOWN else f"p < {LEAST_SHOWN}"
    if chance >= SIGNIFICANT:
        return f"The model is not better than {best}: its MASE is {than}, which may be chance ({words})."
    return f"The model is {'' if skill > 0 else 'not '}better than {best}: its MASE is {than} ({words})."


def narrowed(model: Forecasting, data: Histories, *, backtest: int | None, test_from: str | None) -> Histories:
    """Choose other origins than all that data has.

    Args:
        model: Says how far it forecasts.
        data: Its origins are after what training has seen.
        backtest: So many of each series, evenly; None is every one.
        test_from: A stamp or the number of a step: none before it, and all from there on; None is those of the data.

    Returns:
        The series with these origins.

    Raises:
        ConfigError: If training has learnt from what is to be forecast, or nothing is left.
    """
    horizon, lengths = model.config.horizon, data.values.lengths
    learnt = np.full(len(data), np.iinfo(np.int64).max)
    np.minimum.at(learnt, data.origins[:, 0], data.origins[:, 1])
    known = learnt < np.iinfo(np.int64).max
    chosen = data.origins
    if test_from is not None:
        frequency = model.facts.frequency
        seen = np.maximum(step_number(frequency, test_from, option="--test-from") - data.first, 1)
        early = np.flatnonzero(known & (seen < learnt))
        if len(early):
            (first,) = stamp_words(frequency, (data.first + learnt)[early][:1])
            raise ConfigError(
                f"--test-from is {test_from}, but training has learnt from the steps of {data.names[early[0]]} up to "
                f"{first}; expected that or later, or a model trained with --test-from {test_from}"
            )
        chosen = rolling_origins(
            lengths.tolist(), seen=np.where(known, seen, lengths).tolist(), horizon=horizon, every=1
        )
    if backtest is not None:
        chosen = np.concatenate(
            [here[_even(len(here), backtest)] for here in (chosen[chosen[:, 0] == index] for index in range(len(data)))]
        )
    if not len(chosen):
        raise ConfigError(f"no {horizon} steps are left to forecast; expected an earlier --test-from, or more data")
    return replace(data, origins=chosen)


def _even(count: int, wanted: int) -> np.ndarray:
    """Return the places of some of so many, the last one among them, evenly."""
    return np.unique(np.linspace(count - 1, 0, min(wanted, count)).round().astype(np.int64))


def worst_panels(model: Forecasting, data: Histories, *, most: int) -> list[ForecastPanel]:
    """Return the forecasts with the largest errors as pictures, each of another series or of another time of one."""
    chosen = _worst(model, data, most=most)
    quantiles, actual = model.quantiles(data, chosen), Origins(model, data, chosen).actual
    panels = []
    for (index, seen), one, came in zip(chosen.tolist(), quantiles, actual, strict=True):
        found = make_forecast(str(data.names[index]), model.facts.frequency, int(data.first[index]) + seen, one)
        past = model.facts.restored(data.values[index][:seen])
        panels.append(ForecastPanel(f"{found.series}, from {found.times[0]} on", past, found.quantiles, came))
    return panels


def _worst(model: Forecasting, data: Histories, *, most: int) -> np.ndarray:
    """Return the origins of the largest errors, (any, 2)."""
    some = some_origins(data)
    losses = Origins(model, data, some).losses(model.quantiles(data, some)[..., MEDIAN])
    apart = model.config.horizon if len(np.unique(some[:, 0])) < most else np.inf
    found: list[tuple[int, int]] = []
    for series, seen in some[np.argsort(-np.nan_to_num(losses), kind="stable")].tolist():
        if all(series != other or abs(seen - then) >= apart for other, then in found):
            found.append((series, seen))
        if len(found) == most:
            break
    return np.array(found)
