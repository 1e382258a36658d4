"""Draw what a run did, from its records."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnnkit.figures import drawing

if TYPE_CHECKING:  # matplotlib takes most of a second to import, so the functions that draw do it
    from matplotlib.axes import Axes

Record = Mapping[str, Any]
Points = tuple[list[float], list[float]]
Label = tuple[float, str, str]  # height, text, colour

_SMOOTHING_SHARE = 0.04  # of the records are averaged into one point
_SHOWN_SHARE = 0.97  # of the losses lie below the top of the plot
_LABEL_GAP = 0.065  # of the plot's height, between two labels
_LARGE_FACTOR = 5  # between the least and the greatest value, for an axis on which equal factors are equal distances

# Of the diagnostics: what a record calls it, what the axis says, and whether its factors matter.
_PANELS = (
    ("gradient_norm", "norm of the\ngradient", True),
    ("clipped_share", "share of\nsteps clipped", False),
    ("update_ratio", "update to\nweight ratio", True),
    ("speed", "{unit}\na second", False),
    ("memory_mb", "memory\n(MB)", False),
)


def training_curves(
    records: Sequence[Record],
    path: str | Path,
    *,
    title: str,
    baseline: tuple[str, float] | None,
    against: Literal["seconds", "step"] = "seconds",
) -> None:
    """Draw the losses and the learning rate of a run as a PNG, replacing the file in one move.

    Args:
        records: The run's log: `kind` is "train" (with `loss`, `learning_rate`) or "validation" (with `nats` or
            `loss`), each with `step` and `seconds`. Other kinds, and values that are not finite, are left out.
        path: The PNG to write.
        title: Stands above the plot.
        baseline: Name and loss of what the model should beat, drawn as a line; None draws none.
        against: What the horizontal axis shows.
    """
    from matplotlib.figure import Figure

    scale, axis_label = _horizontal_scale(records, against)
    figure = Figure(figsize=(8, 5), layout="constrained")
    losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    training = _points(records, "train", ("loss",), against, scale)
    validation = _points(records, "validation", ("nats", "loss"), against, scale)
    labels = _draw_training(losses, training) + _draw_validation(losses, validation) + _draw_baseline(losses, baseline)
    _fit_losses(losses, (training[1], validation[1]), [value for value, *_ in labels])
    _label_ends(losses, labels)
    _draw_rate(rates, _points(records, "train", ("learning_rate",), against, scale))
    for axes in (losses, rates):
        drawing.plain(axes)
    losses.set_xlim(left=0)
    losses.set_title(title, loc="left", fontweight="bold")
    losses.set_ylabel("loss (nats)")
    rates.set_xlabel(axis_label)
    drawing.write_png(figure, Path(path))


def training_diagnostics(
    records: Sequence[Record],
    path: str | Path,
    *,
    title: str,
    against: Literal["seconds", "step"] = "seconds",
    unit: str = "tokens",
) -> None:
    """Draw what tells a healthy run from a sick one as a PNG, replacing the file in one move.

    Args:
        records: The run's log. Those of kind "train" may hold `gradient_norm` (before clipping), `clipped_share`,
            `update_ratio`, `speed` and `memory_mb`; a panel that none of them has is left out.
        path: The PNG to write.
        title: Stands above the panels.
        against: What the horizontal axis shows.
        unit: What the speed counts.
    """
    from matplotlib.figure import Figure

    scale, axis_label = _horizontal_scale(records, against)
    curves = [(_points(records, "train", (key,), against, scale), name, log) for key, name, log in _PANELS]
    shown = [curve for curve in curves if curve[0][1]] or [(([], []), "nothing\nrecorded", False)]
    figure = Figure(figsize=(8, 0.9 + 1.25 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (points, label, logarithmic) in zip(panels, shown, strict=True):
        _draw_panel(axes, points, logarithmic=logarithmic)
        axes.set_ylabel(label.format(unit=unit))
        drawing.plain(axes)
    figure.align_ylabels(list(panels))
    panels[0].set_title(title, loc="left", fontweight="bold")
    panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel(axis_label)
    drawing.write_png(figure, Path(path))


def _draw_panel(axes: Axes, points: Points, *, logarithmic: bool) -> None:
    """Draw one quantity faintly and its average over it: from zero up, or by its factors where they are large."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    places, values = points
    if not values:
        return
    smoothed = _smooth(values)
    marker = "o" if len(values) == 1 else None  # a line needs two points
    axes.plot(places, values, color=drawing.BLUE, alpha=0.25, linewidth=0.7)
    axes.plot(places, smoothed, color=drawing.BLUE, linewidth=1.6, marker=marker, markersize=3.5)
    if logarithmic and max(values) > _LARGE_FACTOR * min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.1 * max(values) or 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    end = axes.get_yaxis_transform()
    axes.text(1.015, smoothed[-1], _short(smoothed[-1]), transform=end, color=drawing.BLUE, va="center")


def _short(value: float) -> str:
    """Write a number in the fewest characters that tell its size."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _horizontal_scale(records: Sequence[Record], against: str) -> tuple[float, str]:
    """Choose the unit of the horizontal axis: what one record counts for, and its label."""
    if against == "step":
        return 1.0, "step"
    longest = max((record.get("seconds", 0.0) for record in records), default=0.0)
    units = ((2 * 3600, 1 / 3600, "hours"), (3 * 60, 1 / 60, "minutes"), (0, 1.0, "seconds"))
    return next((scale, f"{name} of training") for start, scale, name in units if longest >= start)


def _points(records: Sequence[Record], kind: str, keys: Sequence[str], against: str, scale: float) -> Points:
    """Take the finite points of one curve: the first of `keys` that a record has."""
    places: list[float] = []
    values: list[float] = []
    for record in records:
        value = next((record[key] for key in keys if key in record), None)
        if record.get("kind") == kind and value is not None and math.isfinite(value):
            places.append(record[against] * scale)
            values.append(value)
    return places, values


def _smooth(values: Sequence[float]) -> list[float]:
    """Average over a centred window that does not lag: narrow at the steep start, cut off at the end."""
    sums = list(itertools.accumulate(values, initial=0.0))
    reach = int(_SMOOTHING_SHARE * len(values) / 2)
    smoothed: list[float] = []
    for place in range(len(values)):
        half = min(reach, place)
        start, stop = place - half, min(place + half + 1, len(values))
        smoothed.append((sums[stop] - sums[start]) / (stop - start))
    return smoothed


def _draw_training(axes: Axes, points: Points) -> list[Label]:
    """Draw the raw loss faintly and its average over it."""
    places, values = points
    if not values:
        return []
    smoothed = _smooth(values)
    axes.plot(places, values, color=drawing.BLUE, alpha=0.25, linewidth=0.7)
    axes.plot(places, smoothed, color=drawing.BLUE, linewidth=1.6)
    return [(smoothed[-1], f"training {smoothed[-1]:.3f}", drawing.BLUE)]


def _draw_validation(axes: Axes, points: Points) -> list[Label]:
    """Draw the validation points and mark the best."""
    places, values = points
    if not values:
        return []
    best = min(range(len(values)), key=values.__getitem__)
    axes.plot(places, values, color=drawing.VERMILION, linewidth=1.2, marker="o", markersize=3.5)
    axes.plot(
        places[best], values[best], "*", color=drawing.VERMILION, markersize=14, markeredgecolor="white", zorder=5
    )
    beside = {"xytext": (0, 9), "textcoords": "offset points", "ha": "right" if best else "left"}
    axes.annotate(f"best {values[best]:.3f}", (places[best], values[best]), color=drawing.VERMILION, **beside)
    return [(values[-1], f"validation {values[-1]:.3f}", drawing.VERMILION)]


def _draw_baseline(axes: Axes, baseline: tuple[str, float] | None) -> list[Label]:
    """Draw what the model should beat as a line across."""
    if baseline is None or not math.isfinite(baseline[1]):
        return []
    name, loss = baseline
    axes.axhline(loss, color=drawing.GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    return [(loss, f"{name} {loss:.3f}", drawing.GREY)]


def _draw_rate(axes: Axes, points: Points) -> None:
    """Draw the learning rate from zero up."""
    axes.plot(*points, color=drawing.GREEN, linewidth=1.4)
    axes.set_ylim(0, 1.15 * max(points[1], default=0.0) or 1.0)
    axes.set_ylabel("learning\nrate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def _fit_losses(axes: Axes, curves: Sequence[Sequence[float]], landmarks: Sequence[float]) -> None:
    """Show the part of the curves where something happens: the steep start may leave at the top."""
    values = sorted(value for curve in curves for value in curve)
    if not values:
        axes.text(0.5, 0.5, "no losses recorded", transform=axes.transAxes, ha="center", color=drawing.GREY)
        return
    top = max(values[math.ceil(_SHOWN_SHARE * (len(values) - 1))], *landmarks)
    bottom = min(values[0], *landmarks)
    margin = 0.06 * (top - bottom) or 0.1
    axes.set_ylim(bottom - margin, top + margin)


def _label_ends(axes: Axes, labels: Sequence[Label]) -> None:
    """Write each curve's name beside its end, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    gap = _LABEL_GAP * (top - bottom)
    heights: list[float] = []
    for value, text, color in sorted(labels):
        height = max(min(max(value, bottom), top), heights[-1] + gap if heights else bottom)
        heights.append(height)
        axes.text(1.015, height, text, transform=axes.get_yaxis_transform(), color=color, va="center")
