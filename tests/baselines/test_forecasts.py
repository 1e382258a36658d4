"""The forecasts without a network, by hand."""

import numpy as np
import pytest

from rnnkit.baselines.forecasts import METHODS, drift, fill_forward, naive, naive2, seasonal_naive, theta

WAVE = np.array([8.0, 12.0, 16.0, 12.0])


def test_the_last_value_the_last_season_and_the_drift():
    histories = [np.array([1.0, 2.0, 3.0, 7.0]), np.array([5.0])]
    assert naive(histories, 3).tolist() == [[7, 7, 7], [5, 5, 5]]
    assert seasonal_naive(histories, 3, 2).tolist() == [[3, 7, 3], [5, 5, 5]]
    assert drift(histories, 2).tolist() == [[9, 11], [5, 5]]


@pytest.mark.parametrize("length", [40, 41, 43])
def test_naive2_and_theta_put_the_season_back_in_its_place(length: int):
    history = np.resize(WAVE, length)
    expected = np.resize(np.roll(WAVE, -length), 6)
    assert naive2([history], 6, 4)[0] == pytest.approx(expected)
    assert theta([history], 6, 4)[0] == pytest.approx(expected)


def test_theta_follows_half_of_a_trend():
    line = 3.0 + 2.0 * np.arange(30)
    # Its one line is the trend, its other the smoothed level of the same: with alpha 1, the last value.
    assert theta([line], 3, 1)[0] == pytest.approx((line[-1] + 2.0 * np.arange(1, 4) + line[-1]) / 2)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "history", [np.array([4.0]), np.zeros(50), np.full(50, 3.0), -np.resize(WAVE, 40), np.array([1e9, -1e9] * 20)]
)
def test_every_method_is_finite_on_odd_series(name: str, history: np.ndarray):
    found = METHODS[name]([history, np.arange(9.0)], 5, 4)
    assert found.shape == (2, 5)
    assert np.isfinite(found).all()


def test_missing_values_take_the_one_before_them():
    nan = np.nan
    assert fill_forward(np.array([nan, 1, nan, nan, 4, nan])).tolist() == [1, 1, 1, 1, 4, 4]
