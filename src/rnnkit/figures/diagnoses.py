"""What happens inside a network: gradients over distance, gates and states over a text, layers over a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.figures import drawing

COLOURS = (drawing.BLUE, drawing.VERMILION, drawing.GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", drawing.GREY)
LEAST = 1e-12  # of the largest gradient: what is less is drawn there
MOST_STEPS, MOST_UNITS = 80, 64  # of a heat map


def gradients_by_distance(norms: Mapping[str, np.ndarray], path: str | Path, *, title: str) -> None:
    """Draw how much of what was read so many steps ago reaches the last output, as a PNG, replaced in one move.

    Args:
        norms: By name, (steps,) of the gradients, by distance: 0 is the last input.
        path: The PNG to write.
        title: Stands above the plot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, (name, values) in enumerate(norms.items()):
        known = np.where(np.isfinite(values), values, np.nan)  # what is beyond all numbers is not drawn
        largest = np.nanmax(known, initial=0) or 1.0
        shares = np.maximum(known / largest, LEAST)
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(range(len(shares)), shares, color=colour, linewidth=1.6, label=name)
    axes.axhline(0.01, color=drawing.GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("a hundredth", (0, 0.01), xytext=(4, 4), textcoords="offset points", color=drawing.GREY, fontsize=9)
    drawing.plain(axes)
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_xlabel("steps back")
    axes.set_ylabel("gradient of the last output,\nby its largest")
    axes.legend(frameon=False)
    axes.set_title(title, loc="left", fontweight="bold")
    drawing.write_png(figure, Path(path))


def text_heat_map(steps: Sequence[str], values: Mapping[str, np.ndarray], path: str | Path, *, title: str) -> None:
    """Draw what gates and state do, unit by unit and token by token, as a PNG, replaced in one move.

    Of many units those are drawn that change most over the text; of many steps the first.

    Args:
        steps: The tokens.
        values: By name, (steps, units) of each gate or part of the state.
        path: The PNG to write.
        title: Stands above the plot.
    """
    from matplotlib.figure import Figure

    shown = steps[:MOST_STEPS]
    units = {name: _liveliest(one[: len(shown)]) for name, one in values.items()}
    heights = [max(1.0, 0.02 * one.shape[1] + 0.6) for one in units.values()]
    figure = Figure(figsize=(max(6.0, 1.6 + 0.26 * len(shown)), 1.4 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(units), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (name, one) in zip(panels, units.items(), strict=True):
        gate = bool(one.min() >= 0 and one.max() <= 1)
        most = 1.0 if gate else float(np.abs(one).max()) or 1.0
        image = axes.imshow(
            one.T,
            aspect="auto",
            interpolation="nearest",
            cmap="Blues" if gate else "RdBu_r",
            vmin=0 if gate else -most,
            vmax=most,
        )
        axes.set_yticks([])
        of = f" of {values[name].shape[1]}" if one.shape[1] < values[name].shape[1] else ""
        axes.set_ylabel(f"{name}\n{one.shape[1]}{of} units", fontsize=9)
        figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
    labels = [drawing.literal(_shown(step)) for step in shown]
    panels[-1].set_xticks(range(len(shown)), labels, rotation=90, fontsize=8)
    more = f" (the first {len(shown)} of {len(steps)} steps)" if len(shown) < len(steps) else ""
    panels[0].set_title(drawing.literal(f"{title}{more}"), loc="left", fontweight="bold", fontsize=10)
    drawing.write_png(figure, Path(path))


def layers_over_training(records: Sequence[Mapping[str, Any]], path: str | Path, *, title: str) -> None:
    """Draw gradient and update of each layer over a run, as a PNG, replaced in one move.

    Args:
        records: Of the run's log; those of kind "train" with `layers` are drawn.
        path: The PNG to write.
        title: Stands above the plot.
    """
    from matplotlib.figure import Figure

    some = [one for one in records if one.get("kind") == "train" and one.get("layers")]
    names = list(some[-1]["layers"]) if some else []
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    heads = (("gradient_norm", "norm of the\ngradient, clipped"), ("update_ratio", "update to\nweight ratio"))
    for axes, (key, label) in zip(panels, heads, strict=True):
        for place, name in enumerate(names):
            points = [(one["step"], one["layers"].get(name, {}).get(key, math.nan)) for one in some]
            kept = [(step, value) for step, value in points if math.isfinite(value) and value > 0]
            if kept:
                axes.plot(*zip(*kept, strict=True), color=COLOURS[place % len(COLOURS)], linewidth=1.2, label=name)
        drawing.plain(axes)
        axes.set_yscale("log")
        axes.set_ylabel(label)
    if panels[0].lines:
        panels[0].legend(frameon=False, fontsize=8, ncols=2)
    panels[-1].set_xlabel("step")
    panels[0].set_title(title, loc="left", fontweight="bold")
    drawing.write_png(figure, Path(path))


def _liveliest(values: np.ndarray) -> np.ndarray:
    """Keep the units, (steps, units), that change most, in their order."""
    if values.shape[1] <= MOST_UNITS:
        return values
    chosen = np.sort(np.argsort(-values.std(0), kind="stable")[:MOST_UNITS])
    return values[:, chosen]


def _shown(step: str) -> str:
    """Make white space visible."""
    return step.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥") or "∅"
