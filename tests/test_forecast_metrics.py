"""Metrics of forecasts, by hand and against one another."""

import math

import numpy as np
import pytest

from rnnkit.errors import DataError
from rnnkit.metrics.forecasts import diebold_mariano, forecast_metrics, naive_scales, overall_weighted_average

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def test_points_and_intervals_are_measured_as_defined():
    actual = np.array([[10.0, 20.0]])
    quantiles = np.array([[[4.0, 6.0, 8.0, 12.0, 14.0], [20.0, 21.0, 26.0, 30.0, 31.0]]])
    found = forecast_metrics(actual, quantiles, LEVELS, np.array([2.0]))
    assert found["mae"] == pytest.approx(4)
    assert found["rmse"] == pytest.approx(math.sqrt(20))
    assert found["mase"] == pytest.approx(2)
    assert found["smape"] == pytest.approx((200 * 2 / 18 + 200 * 6 / 46) / 2)
    assert found["coverage"] == 0.5
    assert found["width"] == pytest.approx((6 + 9) / 2 / 2)
    assert found["msis"] == pytest.approx((10 + 11) / 2 / 2)
    # Twice the pinball losses at 0.1, 0.5 and 0.9, over the sum of the values.
    low, middle, high = 0.1 * 4 + 0.9 * 1, 0.5 * 2 + 0.5 * 6, 0.1 * 2 + 0.1 * 10
    assert found["wql"] == pytest.approx(2 * (low + middle + high) / 3 / 30)


def test_what_is_outside_costs_by_the_level_of_the_interval():
    inside = forecast_metrics(np.array([[5.0]]), np.array([[[0, 1, 5, 9, 10.0]]]), LEVELS, np.ones(1))
    outside = forecast_metrics(np.array([[12.0]]), np.array([[[0, 1, 5, 9, 10.0]]]), LEVELS, np.ones(1))
    assert inside["msis"] == pytest.approx(10)
    assert outside["msis"] == pytest.approx(10 + 2 / 0.05 * 2)


def test_missing_values_are_left_out_of_every_metric():
    generator = np.random.default_rng(1)
    actual, quantiles = generator.normal(size=(6, 4)), np.sort(generator.normal(size=(6, 4, 5)), axis=-1)
    scales = generator.uniform(1, 2, 6)
    holed = np.concatenate([actual, np.full((6, 1), np.nan)], axis=1)
    more = np.concatenate([quantiles, np.full((6, 1, 5), 99.0)], axis=1)
    assert forecast_metrics(holed, more, LEVELS, scales) == pytest.approx(
        forecast_metrics(actual, quantiles, LEVELS, scales)
    )


def test_a_series_that_never_changed_has_no_scale_and_is_left_out():
    actual, quantiles = np.array([[1.0], [2.0]]), np.array([[[2.0]], [[4.0]]])
    assert forecast_metrics(actual, quantiles, [0.5], np.array([0.0, 4.0]))["mase"] == pytest.approx(0.5)
    assert math.isnan(forecast_metrics(actual, quantiles, [0.5], np.array([0.0, np.nan]))["mase"])


def test_nothing_to_measure_is_refused():
    with pytest.raises(DataError, match="nothing to measure"):
        forecast_metrics(np.full((2, 3), np.nan), np.zeros((2, 3, 1)), [0.5], np.ones(2))


def test_owa_of_naive2_itself_is_1():
    own = {"smape": 18.0, "mase": 2.0}
    assert overall_weighted_average(own, own) == 1
    assert overall_weighted_average({"smape": 9.0, "mase": 3.0}, own) == pytest.approx(1)


def test_scales_are_those_of_each_beginning():
    history = np.array([1.0, 5.0, 2.0, 7.0, np.nan, 8.0])
    found = naive_scales(history, np.array([1, 2, 3, 4, 5, 6]), season=2)
    # Steps 0 and 2 are 1 apart, 1 and 3 are 2 apart, 3 and 5 are 1; two steps without a season take neighbours.
    assert found == pytest.approx([np.nan, 4, 1, 1.5, 1.5, 4 / 3], nan_ok=True)


def test_diebold_mariano_is_a_t_test_where_a_single_step_is_forecast():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(1)
    ours, theirs = generator.normal(size=50), generator.normal(size=50) + 0.5
    statistic, p = diebold_mariano(ours, theirs, horizon=1)
    expected = stats.ttest_1samp(ours - theirs, 0)
    assert (statistic, p) == pytest.approx((expected.statistic, expected.pvalue))
    assert diebold_mariano(theirs, ours, horizon=1) == pytest.approx((-statistic, p))
    assert diebold_mariano(ours, ours, horizon=1) == (0, 1)


def test_diebold_mariano_finds_no_difference_where_overlapping_losses_only_seem_many():
    generator = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        smooth = np.convolve(generator.normal(size=300), np.ones(12), mode="valid")
        found += diebold_mariano(smooth, np.zeros_like(smooth), horizon=12)[1] < 0.05
    assert found < 0.15 * 200  # a test that takes each as new finds one in more than half of them
