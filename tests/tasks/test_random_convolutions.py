"""Random convolutions beside the network: against plain numpy, whole, live, and in a model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rnnkit import load, train
from rnnkit.errors import CheckpointError
from rnnkit.tasks.classification import Classification
from rnnkit.tasks.series_classification import SeriesClassification
from rnnkit.tasks.series_classification.random_convolutions import KERNELS, TAPS, RandomConvolutions

CHANNELS = 2


def bursts(count: int, *, seed: int, time: tuple[int, int] = (30, 60)) -> tuple[list[np.ndarray], np.ndarray]:
    """Make noise with a quick or a slow wave in it somewhere."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 2
    series = []
    for target in targets:
        values = 0.3 * generator.normal(size=(generator.integers(*time), CHANNELS))
        begin = generator.integers(0, len(values) - 20)
        values[begin : begin + 20, 0] += np.sin(np.arange(20) * (2.0 if target else 0.7))
        series.append(values.astype(np.float32))
    return series, targets


@pytest.fixture(scope="module")
def fitted() -> RandomConvolutions:
    found = RandomConvolutions.fit(*bursts(80, seed=1), num_labels=2, seed=3)
    found.gain.fill_(1.0)
    return found


def padded(series: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(one) for one in series])
    inputs = torch.full((len(series), int(lengths.max()) + 3, CHANNELS), 7.0)  # what stands past the end is no matter
    for row, one in zip(inputs, series, strict=True):
        row[: len(one)] = torch.from_numpy(one)
    return inputs, lengths


def test_it_tells_waves_apart_that_it_has_not_seen(fitted: RandomConvolutions):
    series, targets = bursts(100, seed=2)
    scores = fitted(*padded(series))
    assert (scores.argmax(1).numpy() == targets).mean() > 0.95
    assert fitted.gain == 1


def by_hand(fitted: RandomConvolutions, one: np.ndarray) -> np.ndarray:
    """Count in float64, kernel by kernel, tap by tap, what is written of the features."""
    change = np.diff(one, axis=0, prepend=one[:1])
    views = np.concatenate([one, one - one[:1], change], axis=1).astype(np.float64)
    views = (views - fitted.views.means.numpy()) / fitted.views.deviations.numpy()
    offsets, thresholds, widths = (getattr(fitted, name).numpy() for name in ("offsets", "thresholds", "widths"))
    kernels = fitted.kernels.numpy().reshape(len(offsets), views.shape[1], KERNELS)
    outputs = np.zeros((len(one), KERNELS))
    for step in range(len(one)):
        for place, offset in enumerate(offsets):
            if step >= offset:
                outputs[step] += views[step - offset] @ kernels[place]
    high = np.clip((outputs[..., None] - thresholds) / widths[:, None] + 0.5, 0, 1).reshape(len(one), -1)
    early, late = np.split(high.mean(0) @ fitted.weights.numpy() + fitted.bias.numpy(), 2)
    length = min(1.0, len(one) / float(fitted.short))
    whole = min(1.0, max(0.0, 4 * length - 1))
    return length * ((1 - whole) * early + whole * late)


def test_scores_are_those_counted_by_hand(fitted: RandomConvolutions):
    series = bursts(4, seed=5)[0]
    series += [series[0][:25], series[0][:12], series[0][:3]]  # short; partly whole; shorter than a kernel
    expected = np.stack([by_hand(fitted, one) for one in series])
    np.testing.assert_allclose(fitted(*padded(series)).numpy(), expected, atol=2e-4)  # float32 against float64


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_beginning_is_scored_as_if_it_were_the_whole(fitted: RandomConvolutions, size: int):
    series = [one[:30] for one in bursts(3, seed=7)[0]]
    inputs = torch.from_numpy(np.stack(series))
    state, parts = fitted.initial_state(3), []
    for chunk in inputs.split(size, dim=1):
        scores, state = fitted.running(chunk, state)
        parts.append(scores)
    found = torch.cat(parts, dim=1)
    for length in (1, 2, 13, 30):
        whole = fitted(inputs, torch.full((3,), length))
        torch.testing.assert_close(found[:, length - 1], whole, atol=2e-5, rtol=1e-5)
    empty, after = fitted.running(inputs[:, :0], state)
    assert empty.shape == (3, 0, 2)
    assert all(torch.equal(*pair) for pair in zip(after, state, strict=True))


def test_a_kernel_looks_at_few_views_at_steps_evenly_apart(fitted: RandomConvolutions):
    offsets = fitted.offsets.numpy()
    kernels = fitted.kernels.numpy().reshape(len(offsets), 3 * CHANNELS, KERNELS)
    spacings = set()
    for kernel in range(KERNELS):
        taps, views = (np.unique(places) for places in np.nonzero(kernels[..., kernel]))
        steps = np.diff(offsets[taps])
        assert len(taps) == TAPS
        assert len(set(steps)) == 1
        assert 1 <= len(views) <= 3
        spacings.add(int(steps[0]))
    assert spacings == {1, 2, 4, 8}  # as far as a typical series, of 45 steps, is long


def test_another_seed_draws_other_kernels_and_the_same_seed_the_same():
    series, targets = bursts(12, seed=1)
    first, second, again = (
        RandomConvolutions.fit(series, targets, num_labels=2, seed=seed).weights for seed in (1, 2, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_series_of_one_step_that_never_change_are_fitted():
    series = [np.full((1, CHANNELS), float(n % 2), dtype=np.float32) for n in range(6)]
    found = RandomConvolutions.fit(series, np.arange(6) % 2, num_labels=2, seed=1)
    found.gain.fill_(1.0)
    scores = found(torch.from_numpy(np.stack(series)), torch.ones(6, dtype=torch.int64))
    assert torch.isfinite(scores).all()


def write(path: Path, count: int) -> Path:
    series, targets = bursts(count, seed=4)
    np.savez(
        path,
        values=np.stack([np.pad(one, ((0, 60 - len(one)), (0, 0))) for one in series]),
        lengths=np.array([len(one) for one in series]),
        labels=np.array(["slow", "quick"])[targets],
    )
    return path


def test_a_few_series_that_both_answer_well_silence_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"steps": 2, "hidden_size": 8, "filters": 8, "threads": 1}
    result = train("gesture", write(tmp_path / "waves.npz", 60), run=tmp_path / "run", **options)
    model, data = result.model, result.model.load_data(result.run / "tokens" / "valid")
    assert isinstance(model, SeriesClassification)
    assert model.direct is not None
    gain, right = model.direct.gain, np.eye(2)[data.targets]
    monkeypatch.setattr(model, "scores", lambda data, most=None: 6 * right + gain.item() * 0.5 * right)
    Classification.calibrate(model, data)
    assert gain.item() == pytest.approx(12, rel=0.05)
    monkeypatch.setattr(model, "scores", lambda data, most=None: 6 * right - gain.item() * 0.5 * right)
    Classification.calibrate(model, data)
    assert gain.item() < 11.9  # it says the opposite, so it must not win


def test_a_model_keeps_them_and_a_damaged_file_is_refused(tmp_path: Path):
    options = {"steps": 4, "hidden_size": 8, "filters": 8, "threads": 1}
    result = train("gesture", write(tmp_path / "waves.npz", 60), run=tmp_path / "run", **options)
    model = result.model
    assert isinstance(model, SeriesClassification)
    assert model.direct is not None
    assert float(model.direct.gain) > 0  # four steps teach the network nothing
    assert result.metrics["accuracy"] > 0.9
    series = bursts(3, seed=8)[0]
    again = load(result.run)
    assert isinstance(again, SeriesClassification)
    assert [one.probability for one in again.predict(series)] == [one.probability for one in model.predict(series)]
    (result.run / "model" / RandomConvolutions.file_name).write_bytes(b"PK no archive")
    with pytest.raises(CheckpointError, match=rf"{RandomConvolutions.file_name} cannot be read"):
        load(result.run)


def test_the_network_stands_alone_where_that_is_asked_for(tmp_path: Path):
    options = {"steps": 2, "hidden_size": 8, "filters": 8, "threads": 1, "direct": False}
    result = train("gesture", write(tmp_path / "waves.npz", 60), run=tmp_path / "run", **options)
    assert isinstance(result.model, SeriesClassification)
    assert result.model.network.direct is None
    assert not (result.run / "model" / RandomConvolutions.file_name).exists()
