"""Classifying series: views, variations, early decisions, gaps, streams that fire once, what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rnnkit
from rnnkit.data.series import Series, SeriesSet
from rnnkit.errors import CheckpointError, ConfigError, DataError
from rnnkit.tasks import SeriesClassification
from rnnkit.tasks.series_classification import SeriesClassificationConfig, StepEvent
from rnnkit.tasks.series_classification.early import SHARES, EarlyRule, accuracy_by_share, share_metrics
from rnnkit.tasks.series_classification.features import step_weights, vary
from rnnkit.tasks.series_classification.network import SeriesFront
from rnnkit.tasks.series_classification.steps import fill_gaps, prepare
from rnnkit.tasks.series_classification.stream import parse_points
from rnnkit.training import TrainResult, train

FAST: dict[str, Any] = {"hidden_size": 16, "filters": 8, "learning_rate": 0.02, "threads": 1}
FAST |= {"precision": "32-true", "batch_size": 16}
STILL = SeriesClassificationConfig(augment_scale=0, augment_shift=0, augment_noise=0, augment_time=0, augment_crop=0)


def gesture(kind: str, generator: np.random.Generator) -> np.ndarray:
    """Make the speed of a movement in two directions: to the right, up, or hardly any."""
    time = int(generator.integers(16, 30))
    values = 0.1 * generator.normal(size=(time, 2))
    if kind != "rest":
        values[:, {"right": 0, "up": 1}[kind]] += 4 * np.sin(np.linspace(0, np.pi, time))
    return values.astype(np.float32)


def write(path: Path, count: int, *, kinds: tuple[str, ...] = ("right", "up"), seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    rows = [
        {"label": kinds[n % len(kinds)], "xy": gesture(kinds[n % len(kinds)], generator).tolist()} for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("made")
    data = write(folder / "data.jsonl", 240, kinds=("right", "up", "rest"))
    return train("gesture", data, run=folder / "run", epochs=12, null_label="rest", valid_share=0.2, **FAST)


def model_of(result: TrainResult) -> SeriesClassification:
    assert isinstance(result.model, SeriesClassification)
    return result.model


def test_it_learns_movements_and_decides_before_their_end(trained: TrainResult):
    metrics, generator = trained.metrics, np.random.default_rng(9)
    assert metrics["accuracy"] > 0.95
    assert metrics["early_accuracy"] > metrics["accuracy"] - 0.05
    assert metrics["early_share"] < 0.9
    assert metrics["accuracy_75"] >= metrics["accuracy_25"]
    kinds = ["right", "up"] * 20
    found = model_of(trained).predict([gesture(kind, generator) for kind in kinds])
    assert np.mean([one.label == kind for one, kind in zip(found, kinds, strict=True)]) > 0.95
    assert np.mean([one.early_label == kind for one, kind in zip(found, kinds, strict=True)]) > 0.85


def test_the_step_that_fires_is_the_early_one(trained: TrainResult):
    (one,) = model_of(trained).predict([gesture("up", np.random.default_rng(4))])
    fired = [event for event in one.running if event.fired]
    assert [(event.step, event.label) for event in fired] == [(one.early_step, one.early_label)]
    assert len(one.running) == one.steps


def test_a_series_in_which_nothing_happens_never_fires(trained: TrainResult):
    model = model_of(trained)
    series = gesture("rest", np.random.default_rng(2))
    (one,) = model.predict([series])
    assert (one.label, one.early_step) == ("rest", None)
    stream = model.stream()
    assert not any(event.fired for event in [*stream.push(series), *stream.finish()])


def test_in_a_continuous_stream_each_gesture_fires_once(trained: TrainResult):
    model, generator = model_of(trained), np.random.default_rng(6)
    kinds = ["up", "rest", "right", "rest", "up", "rest", "rest", "right", "rest"]
    samples = [gesture(kind, generator) for kind in kinds]
    stream = model.stream(continuous=True)
    fired = [event.label for event in stream.push(np.concatenate(samples)) if event.fired]
    assert fired == [kind for kind in kinds if kind != "rest"]


def test_a_continuous_stream_does_not_depend_on_its_chunks(trained: TrainResult):
    model, generator = model_of(trained), np.random.default_rng(7)
    samples = np.concatenate([gesture(kind, generator) for kind in ("up", "rest", "right", "up")])
    whole, parts = model.stream(continuous=True), model.stream(continuous=True)
    expected = whole.push(samples)
    found = [event for chunk in np.array_split(samples, 13) for event in parts.push(chunk)]
    assert [(event.step, event.label, event.fired) for event in found] == [
        (event.step, event.label, event.fired) for event in expected
    ]


def test_what_was_not_decided_early_is_decided_at_the_end(trained: TrainResult):
    model = model_of(trained)
    stream = model.stream()
    before = stream.push([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]])
    if not any(event.fired for event in before):
        fired = [] if before[-1].label == "rest" else [before[-1].label]
        assert [event.label for event in stream.finish() if event.fired] == fired


def test_missing_values_in_a_stream_are_those_before(trained: TrainResult):
    model, series = model_of(trained), gesture("up", np.random.default_rng(3))
    series[[0, 5, 6], [1, 0, 1]] = np.nan
    stream = model.stream()
    events = [event for row in series for event in stream.push([row.tolist()])]
    (expected,) = model.predict([series])
    assert [event.probability for event in events] == pytest.approx(
        [event.probability for event in expected.running], rel=1e-5
    )


def test_a_stride_makes_one_step_of_several_samples(tmp_path: Path):
    data = write(tmp_path / "data.jsonl", 60)
    model = model_of(train("gesture", data, run=tmp_path / "run", steps=5, stride=4, **FAST))
    series = gesture("up", np.random.default_rng(1))[:18]
    (expected,) = model.predict([series])
    assert expected.steps == 5
    for size in (1, 3, 7, 18):
        stream = model.stream()
        events = [event for first in range(0, 18, size) for event in stream.push(series[first : first + size])]
        assert len(events) == 4
        events += stream.finish()
        assert [event.probability for event in events] == pytest.approx(
            [event.probability for event in expected.running], rel=1e-5
        )


@pytest.mark.parametrize(
    ("options", "reason"), [({"bidirectional": True}, "is bidirectional"), ({"resample": 8}, "stretches")]
)
def test_a_model_that_needs_the_whole_series_answers_but_does_not_stream(
    tmp_path: Path, options: dict[str, Any], reason: str
):
    data = write(tmp_path / "data.jsonl", 60)
    result = train("gesture", data, run=tmp_path / "run", steps=30, **FAST, **options)
    model = model_of(result)
    (one,) = model.predict([gesture("up", np.random.default_rng(1))])
    assert (one.running, one.early_step) == ((), None)
    assert "early_accuracy" not in result.metrics
    assert result.baselines["1-NN"].keys() <= result.metrics.keys()
    with pytest.raises(ConfigError, match=reason):
        model.stream()


@pytest.mark.parametrize("options", [{"filters": 0}, {"layer": "convolution"}, {"step_loss": 0.0}, {"pooling": "last"}])
def test_other_networks_learn_too(tmp_path: Path, options: dict[str, Any]):
    data = write(tmp_path / "data.jsonl", 160)
    assert train("gesture", data, run=tmp_path / "run", epochs=10, **FAST | options).metrics["accuracy"] > 0.9


def test_it_goes_on_from_a_model_with_the_labels_both_know(trained: TrainResult, tmp_path: Path):
    data = write(tmp_path / "data.jsonl", 40, kinds=("up", "right"))
    text = data.read_text().replace('"right"', '"other"')
    data.write_text(text)
    options = {"steps": 1, "learning_rate": 1e-9, "precision": "32-true", "threads": 1, "null_label": None}
    model = train("gesture", data, run=tmp_path / "run", start=trained.run, **options).model
    ours, theirs = model.network.output.weight, trained.model.network.output.weight
    assert torch.allclose(
        ours[model.labels.names.index("up")], theirs[trained.model.labels.names.index("up")], atol=1e-6
    )
    assert torch.equal(model.front.views.means, trained.model.front.views.means)
    with pytest.raises(ConfigError, match="in the model to go on from"):
        train("gesture", data, run=tmp_path / "other", start=trained.run, hidden_size=9, **options)


# What the network sees


def test_gaps_are_filled_by_the_value_before():
    values = np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan], [3, 4]])
    assert fill_gaps(values, np.array([9.0, 8.0])).tolist() == [[9, 1], [2, 1], [2, 1], [3, 4]]


def test_samples_are_averaged_or_stretched():
    values = np.arange(5.0)[:, None]
    assert prepare(values, SeriesClassificationConfig(stride=2), before=np.zeros(1))[:, 0].tolist() == [0.5, 2.5, 4]
    assert prepare(values, SeriesClassificationConfig(resample=9), before=np.zeros(1))[:, 0] == pytest.approx(
        np.arange(0, 4.5, 0.5)
    )


def test_the_views_are_value_distance_and_change_in_units_of_their_deviation():
    front = SeriesFront(1, SeriesClassificationConfig(filters=0))
    series = [np.array([[1.0], [3.0], [7.0]]), np.array([[0.0], [2.0]])]
    front.views.fit(series)
    features, _ = front(torch.tensor([[[1.0], [3.0], [7.0]]]))
    raw = np.array([[1, 0, 0], [3, 2, 2], [7, 6, 4], [0, 0, 0], [2, 2, 2]], dtype=float)
    expected = (raw[:3] - raw.mean(0)) / raw.std(0)
    assert features[0].numpy() == pytest.approx(expected, rel=1e-5)


def test_a_channel_that_never_changes_is_no_trouble():
    front = SeriesFront(2, SeriesClassificationConfig(filters=0))
    front.views.fit([np.full((4, 2), 1e4)])
    features, _ = front(torch.full((1, 3, 2), 1e4))
    assert torch.isfinite(features).all()
    assert features.abs().max() < 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_padding_does_not_reach_the_features(lengths: list[int]):
    front = SeriesFront(2, SeriesClassificationConfig(filters=3)).double()
    inputs, sizes = torch.randn(len(lengths), 9, 2, dtype=torch.float64), torch.tensor(lengths)
    outputs, _ = front(inputs, None, sizes)
    for row, length, found in zip(inputs, lengths, outputs, strict=True):
        alone, _ = front(row[None, :length])
        assert torch.allclose(found[:length], alone[0], atol=1e-12)
        assert not found[length:].any()


# Variations


def test_without_variation_a_batch_stays_as_it_is():
    inputs, lengths = torch.randn(3, 5, 2), torch.tensor([5, 2, 4])
    for row, length in zip(inputs, lengths, strict=True):
        row[length:] = 0
    varied, sizes = vary(inputs, lengths, torch.ones(2), STILL)
    assert torch.equal(varied, inputs)
    assert torch.equal(sizes, lengths)


def test_another_speed_keeps_the_way_and_its_ends():
    config = replace(STILL, augment_time=0.4)
    way = torch.linspace(0, 1, 30)
    inputs = torch.stack([way, way**2], dim=1).repeat(64, 1, 1)
    varied, lengths = vary(inputs, torch.full((64,), 30), torch.ones(2), config)
    assert lengths.min() < 25
    assert lengths.max() > 35
    for row, length in zip(varied, lengths, strict=True):
        x, y = row[:length].unbind(1)
        assert (x.diff() >= 0).all()
        assert float(x[0]) == pytest.approx(0, abs=1e-6)
        assert float(x[-1]) == pytest.approx(1, abs=1e-5)
        assert y.tolist() == pytest.approx((x**2).tolist(), abs=2e-3)  # still the same curve
        assert not row[length:].any()


def test_a_crop_leaves_out_ends_alone():
    config = replace(STILL, augment_crop=0.3)
    inputs = torch.arange(40.0)[None, :, None].repeat(50, 1, 1)
    varied, lengths = vary(inputs, torch.full((50,), 40), torch.ones(1), config)
    begins = torch.tensor([float(row[0]) for row in varied])
    ends = torch.tensor([float(row[length - 1]) for row, length in zip(varied, lengths, strict=True)])
    assert 0 <= begins.min() < 3
    assert 9 < begins.max() <= 0.3 * 39
    assert 39 >= ends.max() > 36
    assert 30 > ends.min() >= 0.7 * 39 - 1e-3


def test_a_turn_keeps_distances_from_the_first_point():
    config = replace(STILL, augment_rotation=90)
    inputs = torch.randn(8, 6, 3)
    varied, _ = vary(inputs, torch.full((8,), 6), torch.ones(3), config)
    distances = [(values[..., :2] - values[:, :1, :2]).norm(dim=-1) for values in (inputs, varied)]
    assert torch.allclose(*distances, atol=1e-5)
    assert torch.allclose(varied[..., 2], inputs[..., 2])
    assert not torch.allclose(varied, inputs, atol=0.1)


def test_noise_and_scale_have_the_deviations_asked_for():
    config = replace(STILL, augment_scale=0.2, augment_noise=0.1)
    inputs = torch.full((4000, 2, 1), 10.0)
    varied, _ = vary(inputs, torch.full((4000,), 2), torch.tensor([3.0]), config)
    assert float((varied[:, 0] - varied[:, 1]).std()) == pytest.approx(0.3 * math.sqrt(2), rel=0.05)
    assert float((varied.mean(1) / 10).log().std()) == pytest.approx(0.2, rel=0.1)


def test_a_shift_moves_every_step_of_a_channel_alike():
    inputs = torch.randn(2000, 3, 2)
    varied, _ = vary(inputs, torch.full((2000,), 3), torch.tensor([3.0, 1.0]), replace(STILL, augment_shift=0.5))
    moved = varied - inputs
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved), atol=1e-5, rtol=0)
    assert moved[:, 0].std(0).tolist() == pytest.approx([1.5, 0.5], rel=0.1)


@pytest.mark.parametrize(("length", "stride"), [(40, 1), (100, 1), (320, 3)])
def test_long_series_are_averaged_to_about_a_hundred_steps(length: int, stride: int):
    values = np.random.default_rng(0).normal(size=(4, length, 1)).astype(np.float32)
    examples = SeriesSet(
        tuple(Series(one, (label,), "t", 1) for one, label in zip(values, "abab", strict=True)), ("1",)
    )
    task = SeriesClassification.prepare(examples, STILL)
    assert task.config.stride == stride
    assert len(task.encode(examples).steps[0]) == math.ceil(length / stride)


def test_the_weights_of_steps_sum_to_one_and_rise():
    weights = step_weights(torch.tensor([4, 1, 2]), 4, share=0.4)
    assert weights.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert weights[0].tolist() == pytest.approx([0.04, 0.08, 0.12, 0.16 + 0.6])
    assert weights[2, 2:].tolist() == [0, 0]


# Early decisions


def test_a_rule_waits_until_one_label_has_led_long_enough():
    answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.05, 0.95], [0.6, 0.4]])
    assert EarlyRule(0.8, 1).decide(answers) == 0
    assert EarlyRule(0.8, 2).decide(answers) == 2
    assert EarlyRule(0.9, 2).decide(answers) == 3
    assert EarlyRule(0.96, 1).decide(answers) is None
    assert EarlyRule(0.8, 2).decide(answers, null=1) is None


def test_the_rule_chosen_is_early_and_loses_little():
    generator = np.random.default_rng(0)
    answers, targets = [], generator.integers(0, 2, 200)
    for target in targets:
        sure = np.linspace(0.5, 0.99, 20)
        wrong_start = generator.random() < 0.3
        right = np.where((np.arange(20) < 6) & wrong_start, 1 - sure, sure)
        answers.append(np.stack([1 - right, right] if target else [right, 1 - right], axis=1))
    rule = EarlyRule.fit(answers, targets)
    accuracy, share = rule.measure(answers, targets)
    assert accuracy >= 0.99
    assert share < 0.6
    greedy = EarlyRule(0.5, 1).measure(answers, targets)
    assert greedy[0] < 0.75
    assert greedy[1] < share


def test_the_accuracy_after_each_share_is_that_of_the_step_there():
    answers = [np.eye(2)[[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]], np.eye(2)[[0]]]
    found = accuracy_by_share(answers, np.array([0, 0]))
    assert found[np.isclose(SHARES, 0.3)].tolist() == [0.5]
    assert found[np.isclose(SHARES, 0.35)].tolist() == [1.0]
    assert share_metrics(found)["accuracy_25"] == 0.5
    assert share_metrics(found)["accuracy_over_shares"] == pytest.approx((6 * 0.5 + 14) / 20)


# What is refused


def test_points_of_another_kind_are_refused(trained: TrainResult):
    stream = model_of(trained).stream()
    for chunk, said in (
        ([[1, 2, 3]], "expected points of 2 numbers"),
        ([[1, 2], [3]], "no list of points"),
        ([["a", "b"]], "no list of points"),
        ([[1, math.inf]], "infinite value"),
    ):
        with pytest.raises(DataError, match=said):
            stream.push(chunk)
    assert isinstance(stream.push([[1, 2]])[0], StepEvent)


def test_a_series_without_a_point_is_refused(trained: TrainResult):
    with pytest.raises(DataError, match="series 2 has no point"):
        model_of(trained).predict([[[1, 2]], []])


def test_a_file_of_other_channels_is_refused_naming_both(trained: TrainResult, tmp_path: Path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"label": "up", "v": [1, 2]}\n')
    model = model_of(trained)
    with pytest.raises(DataError, match=r"other\.jsonl: its series have 1 channels.*trained on 2: x, y"):
        model.encode(model.read([path], model.config))
    with pytest.raises(DataError, match="trained on 2"):
        model.read_inputs(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [("[1, 2]", [[1, 2]]), ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]]), ('{"xy": [[1, 2]]}', [[1, 2]]), ("3", [[3]])],
)
def test_a_line_of_a_stream_is_a_point_or_some(text: str, found: list[list[float]]):
    assert parse_points(text, key=None, where="line 1") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [("[1, ", "line 7: this is no JSON"), ('"x"', "line 7: this is"), ('{"a": 1}', "one list of points")],
)
def test_a_line_that_is_no_point_is_refused(text: str, said: str):
    with pytest.raises(DataError, match=said):
        parse_points(text, key=None, where="line 7")


def test_a_null_label_that_does_not_occur_is_refused(tmp_path: Path):
    data = write(tmp_path / "data.jsonl", 20)
    with pytest.raises(ConfigError, match="null_label is 'idle'; expected one of right, up"):
        train("gesture", data, run=tmp_path / "run", steps=1, null_label="idle")


@pytest.mark.parametrize("name", ["early.json", "series.json"])
def test_a_damaged_model_is_refused_naming_the_file(trained: TrainResult, tmp_path: Path, name: str):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (trained.run / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).write_text("{}")
    with pytest.raises(CheckpointError, match=name):
        rnnkit.load(folder)


def test_a_series_that_never_changes_can_be_trained_on():
    examples = tuple(Series(np.full((4, 1), 7.0, np.float32), (label,), "t", n) for n, label in enumerate("abab"))
    task = SeriesClassification.prepare(SeriesSet(examples, ("1",)), STILL)
    loss = task.loss(task.batches(task.encode(SeriesSet(examples, ("1",))), batch_size=4, seed=0).next_chunk())
    assert torch.isfinite(loss.total)
