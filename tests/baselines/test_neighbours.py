"""The nearest neighbour of a series against a loop, and the form that leaving one out chooses."""

from pathlib import Path

import numpy as np
import pytest

from rnnkit.baselines.neighbours import STEPS, NearestSeries
from rnnkit.errors import CheckpointError


def waves(count: int, *, seed: int = 0, offset: float = 0.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Make series of two kinds that differ in their frequency, of any length and at any height."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 2
    series = []
    for target in targets:
        phase = np.linspace(0, 2 * np.pi * (1 + target), generator.integers(20, 60))
        height = offset * generator.normal()
        series.append(np.stack([np.sin(phase), np.cos(phase)], axis=1) + height + 0.1 * generator.normal(size=(1, 2)))
    return series, targets


def stretched(one: np.ndarray) -> np.ndarray:
    places = np.linspace(0, len(one) - 1, STEPS)
    return np.stack([np.interp(places, np.arange(len(one)), channel) for channel in one.T], axis=1)


def test_it_gives_the_label_of_the_nearest():
    (series, targets), (asked, _) = waves(30), waves(11, seed=1)
    fitted = NearestSeries.fit(series, targets, num_labels=2)
    assert fitted.form == "as they are"
    known = [stretched(one) / fitted.deviations for one in series]
    for one, found in zip(asked, fitted.labels(asked), strict=True):
        own = stretched(one) / fitted.deviations
        assert found == targets[int(np.argmin([((own - other) ** 2).sum() for other in known]))]


def test_series_at_different_heights_are_compared_centred():
    series, targets = waves(60, offset=20.0)
    fitted = NearestSeries.fit(series, targets, num_labels=2)
    assert fitted.form.startswith("centred")
    asked, wanted = waves(40, seed=3, offset=20.0)
    assert (fitted.labels(asked) == wanted).mean() > 0.95


def test_its_confidence_is_how_often_it_was_right_with_one_left_out():
    generator = np.random.default_rng(0)
    series, targets = [generator.normal(size=(10, 1)) for _ in range(200)], generator.integers(0, 4, 200)
    fitted = NearestSeries.fit(series, targets, num_labels=4)
    answers = fitted.probabilities(series[:5])
    assert answers.sum(1) == pytest.approx(np.ones(5))
    assert 0.25 <= answers.max() < 0.4  # chance
    series, targets = waves(40)
    assert 0.98 < NearestSeries.fit(series, targets, num_labels=2).probabilities(series).max() < 1


def test_a_beginning_is_compared_with_beginnings():
    series, targets = waves(40)
    beginnings = [one[: len(one) // 2] for one in series]
    fitted = NearestSeries.fit(series, targets, num_labels=2)
    assert (fitted.labels(series, share=0.5) == targets).mean() > 0.95
    assert (fitted.labels(beginnings) == targets).mean() < 0.9  # half a slow wave looks like no whole one


def test_a_saved_one_answers_as_before_and_damage_is_refused(tmp_path: Path):
    series, targets = waves(20)
    fitted = NearestSeries.fit(series, targets, num_labels=2)
    fitted.save(tmp_path)
    assert np.array_equal(NearestSeries.load(tmp_path).probabilities(series), fitted.probabilities(series))
    (tmp_path / "neighbours.npz").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=r"neighbours\.npz"):
        NearestSeries.load(tmp_path)
