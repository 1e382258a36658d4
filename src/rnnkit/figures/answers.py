"""Draw what a model answered: which label was taken for which, how soon, what a translation looked at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnkit.figures import drawing

MOST_LABELS = 40  # of a confusion matrix: more could not be read
WRITTEN_LABELS = 20  # up to so many, the counts stand in the cells
MOST_TOKENS = 60  # of a side of an alignment


def confusion_matrix(counts: np.ndarray, labels: Sequence[str], path: str | Path, *, title: str) -> None:
    """Draw which label was taken for which as a PNG, replacing the file in one move.

    Of many labels those that occur most are drawn.

    Args:
        counts: (labels, labels), row: the true one, column: the predicted one.
        labels: Their names.
        path: The PNG to write.
        title: Stands above the plot.
    """
    from matplotlib.figure import Figure

    shown: list[int] = np.sort(np.argsort(-(counts.sum(0) + counts.sum(1)), kind="stable")[:MOST_LABELS]).tolist()
    some, names = counts[np.ix_(shown, shown)], [_clipped(labels[index]) for index in shown]
    shares = some / np.maximum(counts.sum(1)[shown, None], 1)
    side = min(12.0, 2.6 + 0.42 * len(names))
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(names))
    slanted = max(map(len, names)) > 3
    axes.set_xticks(places, names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(places, names)
    if len(names) <= WRITTEN_LABELS:
        for row, column in itertools.product(places, places):
            color = "white" if shares[row, column] > 0.55 else "#222222"
            if some[row, column]:
                axes.text(column, row, f"{some[row, column]:,}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    more = f" (the {len(names)} most frequent of {len(labels)} labels)" if len(names) < len(labels) else ""
    axes.set_title(f"{title}{more}", loc="left", fontweight="bold", fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true label", fraction=0.046)
    drawing.write_png(figure, Path(path))


def earliness(
    shares: np.ndarray, accuracies: np.ndarray, path: str | Path, *, title: str, decision: tuple[float, float]
) -> None:
    """Draw how right the answer is after each share of a sequence as a PNG, replacing the file in one move.

    Args:
        shares: (points,) in (0, 1].
        accuracies: (points,) in [0, 1].
        path: The PNG to write.
        title: Stands above the plot.
        decision: Mean share seen and accuracy of the rule of early decisions.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(shares, accuracies, color=drawing.BLUE, alpha=0.12, linewidth=0)
    axes.plot(shares, accuracies, color=drawing.BLUE, linewidth=1.8, marker="o", markersize=3)
    axes.plot(*decision, "*", color=drawing.VERMILION, markersize=16, markeredgecolor="white", zorder=5)
    words = f"decided by the rule: {decision[1]:.1%}\nafter {decision[0]:.0%} on average"
    low = decision[1] < 0.5
    beside = {"xytext": (10, 14 if low else -12), "textcoords": "offset points", "va": "bottom" if low else "top"}
    axes.annotate(words, decision, color=drawing.VERMILION, **beside)
    drawing.plain(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("share of the sequence seen")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{title}: {accuracies.mean():.1%} over all shares", loc="left", fontweight="bold", fontsize=10)
    drawing.write_png(figure, Path(path))


def _clipped(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def alignment(
    weights: np.ndarray, source: Sequence[str], target: Sequence[str], path: str | Path, *, title: str = ""
) -> None:
    """Draw what was looked at for each token of a translation as a PNG, replacing the file in one move.

    Of long texts the beginning is drawn.

    Args:
        weights: (target, source) shares of attention.
        source: Tokens.
        target: Tokens.
        path: The PNG to write.
        title: Stands above the plot.
    """
    from matplotlib.figure import Figure

    source, target = source[:MOST_TOKENS], target[:MOST_TOKENS]
    size = (2.0 + 0.3 * len(source), 1.6 + 0.26 * len(target))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(weights[: len(target), : len(source)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(target)), target)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="share of attention", fraction=0.046)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    drawing.write_png(figure, Path(path))
