"""The figure of a run is drawn whatever the run recorded."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from matplotlib.image import imread

from rnnkit.figures import (
    diagnoses,
    drawing,
    gradients_by_distance,
    layer_comparison,
    layers_over_training,
    runs,
    text_heat_map,
    training_curves,
    training_diagnostics,
)


def run_records(count: int) -> list[dict[str, Any]]:
    """Make up the log of a run that learns."""
    records: list[dict[str, Any]] = []
    for step in range(1, count + 1):
        loss = 1.4 + 3 * math.exp(-step / 20)
        records.append({"kind": "train", "step": step, "seconds": step * 0.5, "loss": loss, "learning_rate": 1e-3})
        if step % 20 == 0:
            records.append({"kind": "validation", "step": step, "seconds": step * 0.5, "nats": loss + 0.1})
    return records


def colours(path: Path) -> set[tuple[int, ...]]:
    """List the colours in a PNG."""
    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    return {tuple(colour) for colour in numpy.unique(pixels.reshape(-1, 3), axis=0).tolist()}


BLUE, VERMILION, GREEN = (0, 114, 178), (213, 94, 0), (0, 158, 115)


def test_a_run_shows_training_validation_and_learning_rate(tmp_path: Path):
    path = tmp_path / "curves.png"
    training_curves(run_records(100), path, title="a run", baseline=("3-gram", 2.0))
    assert colours(path) >= {BLUE, VERMILION, GREEN}
    assert imread(path).shape[:2] == (750, 1200)  # 8 x 5 inches of 150 dots


@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_a_short_run_is_drawn_without_validation(tmp_path: Path, count: int):
    path = tmp_path / "curves.png"
    training_curves(run_records(count), path, title="short", baseline=None, against="step")
    assert VERMILION not in colours(path)


def test_losses_that_are_not_finite_are_left_out(tmp_path: Path):
    records = run_records(30)
    bad = [
        {**records[-1], "kind": kind, "loss": value}
        for kind in ("train", "validation")
        for value in (math.nan, math.inf)
    ]
    training_curves(records + bad, tmp_path / "with.png", title="x", baseline=("none", math.nan))
    training_curves(records, tmp_path / "without.png", title="x", baseline=None)
    assert numpy.array_equal(imread(tmp_path / "with.png"), imread(tmp_path / "without.png"))


def test_the_old_figure_is_replaced_and_nothing_else_left(tmp_path: Path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    training_curves(run_records(3), path, title="x", baseline=None)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(drawing.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        training_curves(run_records(3), path, title="x", baseline=None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_average_of_a_line_is_the_line():
    line = [float(value) for value in range(200)]
    assert runs._smooth(line)[:190] == pytest.approx(line[:190])  # the window is cut off at the end


@pytest.mark.parametrize(("seconds", "label"), [(90, "seconds"), (600, "minutes"), (9000, "hours")])
def test_time_is_shown_in_a_fitting_unit(seconds: float, label: str):
    assert runs._horizontal_scale([{"seconds": seconds}], "seconds")[1] == f"{label} of training"


def test_pyplot_is_never_loaded(tmp_path: Path):
    before = "matplotlib.pyplot" in sys.modules
    training_curves(run_records(3), tmp_path / "curves.png", title="x", baseline=None)
    assert ("matplotlib.pyplot" in sys.modules) == before


# Diagnostics


def diagnostic_records(*keys: str, values: list[float] | None = None) -> list[dict[str, Any]]:
    """Make up a log of which every training record has these keys."""
    values = [1.0 / step for step in range(1, 11)] if values is None else values
    return [
        {"kind": "train", "step": step, "seconds": 2.0 * step, **dict.fromkeys(keys, value)}
        for step, value in enumerate(values, start=1)
    ]


def height(path: Path) -> float:
    return imread(path).shape[0] / 150  # dots an inch


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_panel_is_drawn_for_each_quantity_that_was_recorded(tmp_path: Path, count: int):
    keys = ("gradient_norm", "clipped_share", "speed", "update_ratio", "memory_mb")[:count]
    training_diagnostics(diagnostic_records(*keys), tmp_path / "d.png", title="x")
    assert height(tmp_path / "d.png") == pytest.approx(0.9 + 1.25 * count, abs=0.02)
    assert BLUE in colours(tmp_path / "d.png")


@pytest.mark.parametrize(
    "values", [[], [3.0], [0.0, 0.0], [math.nan, math.inf], [1e-9, 1e9], [math.nan, 2.0, 3.0], [-1.0, 5.0]]
)
def test_diagnostics_are_drawn_whatever_was_measured(tmp_path: Path, values: list[float]):
    records = diagnostic_records("gradient_norm", "speed", values=values)
    training_diagnostics(records, tmp_path / "d.png", title="x", against="step")
    assert (BLUE in colours(tmp_path / "d.png")) == any(map(math.isfinite, values))


SHORT = {0.0: "0", 0.00123: "0.0012", 0.5: "0.5", 2.0: "2", 45123.4: "45,123", 1e6: "1,000,000"}


@pytest.mark.parametrize(("value", "text"), SHORT.items())
def test_a_number_is_written_short(value: float, text: str):
    assert runs._short(value) == text


# Layers


def test_gradients_are_drawn_by_their_largest(tmp_path: Path):
    norms = 0.9 ** numpy.arange(50)
    for name, factor in (("small", 1e-9), ("large", 1e9)):
        gradients_by_distance({"rnn": factor * norms}, tmp_path / f"{name}.png", title="x")
    assert BLUE in colours(tmp_path / "small.png")
    assert numpy.array_equal(imread(tmp_path / "small.png"), imread(tmp_path / "large.png"))


@pytest.mark.parametrize("values", [[0.0] * 5, [1.0], [math.nan] * 5, [1.0, math.inf, 0.5], [1.0, 0.0, 0.0]])
def test_gradients_are_drawn_whatever_they_are(tmp_path: Path, values: list[float]):
    gradients_by_distance({"rnn": numpy.array(values)}, tmp_path / "g.png", title="x")
    assert imread(tmp_path / "g.png").shape[:2] == (675, 1200)


def heat_map(path: Path, steps: int, units: int) -> numpy.ndarray:
    values = numpy.random.default_rng(0).random((steps, units))
    text_heat_map(["a"] * steps, {"gate": values, "state": 3 * values - 1}, path, title="a text")
    return imread(path)


def test_a_heat_map_grows_with_its_text_to_a_limit(tmp_path: Path):
    most = diagnoses.MOST_STEPS
    widths = [heat_map(tmp_path / "h.png", steps, 4).shape[1] for steps in (1, most // 2, most, 5 * most)]
    assert widths[0] < widths[1] < widths[2] == widths[3]


def test_a_heat_map_keeps_the_units_that_change(tmp_path: Path):
    values = numpy.zeros((9, 3 * diagnoses.MOST_UNITS))
    lively = slice(5, 5 + 2 * diagnoses.MOST_UNITS, 2)
    values[::2, lively] = 1.0
    assert (diagnoses._liveliest(values) == values[:, lively]).all()
    text_heat_map(["a"] * 9, {"gate": values}, tmp_path / "most.png", title="a text")
    text_heat_map(["a"] * 9, {"gate": values[:, :4]}, tmp_path / "few.png", title="a text")
    assert imread(tmp_path / "most.png").shape[0] > imread(tmp_path / "few.png").shape[0]


@pytest.mark.parametrize("step", ["", " ", "\n", "$", "\\alpha$x_1$", "字", "%"])
def test_any_token_can_be_a_label(tmp_path: Path, step: str):
    text_heat_map([step, "b"], {"gate": numpy.zeros((2, 3))}, tmp_path / "h.png", title=f"{step} and $")
    assert (tmp_path / "h.png").stat().st_size


def layer_records(*found: dict[str, float]) -> list[dict[str, Any]]:
    return [{"kind": "train", "step": step, "layers": {"stack.layers.0.0": one}} for step, one in enumerate(found)]


@pytest.mark.parametrize(
    ("found", "drawn"),
    [
        ([{"gradient_norm": 1.0, "update_ratio": 1e-3}, {"gradient_norm": 2.0, "update_ratio": 2e-3}], True),
        ([{"gradient_norm": 1.0}, {"gradient_norm": 0.5}], True),  # a layer without matrices
        ([{"gradient_norm": 0.0}, {"gradient_norm": math.inf}, {"gradient_norm": math.nan}], False),
        ([], False),
    ],
)
def test_layers_are_drawn_whatever_was_measured(tmp_path: Path, found: list[dict[str, float]], drawn: bool):
    records = [*layer_records(*found), {"kind": "train", "step": 9}, {"kind": "validation", "step": 9}]
    layers_over_training(records, tmp_path / "l.png", title="x")
    assert (BLUE in colours(tmp_path / "l.png")) == drawn


def test_the_best_layer_has_its_own_colour(tmp_path: Path):
    layer_comparison({"lstm": [1.0, 1.2, 1.1], "cnn": [2.0]}, tmp_path / "c.png", title="x")
    assert colours(tmp_path / "c.png") >= {BLUE, VERMILION}
    layer_comparison({"lstm": [1.0]}, tmp_path / "c.png", title="x")
    assert BLUE not in colours(tmp_path / "c.png")
