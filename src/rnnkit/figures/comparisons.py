"""Layers beside one another."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnkit.figures.drawing import BLUE, GREY, VERMILION, plain, write_png

ROW_INCHES = 0.4


def layer_comparison(values: Mapping[str, Sequence[float]], path: str | Path, *, title: str) -> None:
    """Draw the scores of each layer on a line of its own, a point a seed, the mean beside them; the best at the top.

    Args:
        values: Scores of each layer; lower is better.
        path: PNG to write.
        title: Over the picture.
    """
    from matplotlib.figure import Figure

    order = sorted(values, key=lambda layer: statistics.fmean(values[layer]), reverse=True)
    figure = Figure(figsize=(7, 1.2 + ROW_INCHES * len(order)), layout="constrained")
    axes = figure.add_subplot()
    plain(axes)
    axes.grid(axis="x", color="#E3E5E8", linewidth=0.8)
    for place, layer in enumerate(order):
        scores = values[layer]
        colour = VERMILION if place == len(order) - 1 else BLUE
        axes.plot(scores, [place] * len(scores), "o", color=colour, alpha=0.6, markersize=5)
        mean = statistics.fmean(scores)
        axes.plot([mean, mean], [place - 0.25, place + 0.25], color=colour, linewidth=2)
        axes.annotate(
            f"{mean:.4g}",
            (max(scores), place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            fontsize=9,
        )
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=11)
    write_png(figure, Path(path))
