"""Draw forecasts: what was before, how the next values are distributed, what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnkit.figures import drawing

MOST_PANELS = 6  # of forecasts in a picture
PAST_HORIZONS = 3  # of history before a forecast
LEAST_PAST = 30


@dataclass(frozen=True)
class ForecastPanel:
    """A forecast to draw.

    Attributes:
        name: Stands above it.
        past: (time,) the values before it, NaN where one is missing.
        quantiles: By level, each (horizon,).
        actual: (horizon,) what came, likewise; None where nobody knows yet.
    """

    name: str
    past: np.ndarray
    quantiles: Mapping[str, Sequence[float]]
    actual: np.ndarray | None = None


def forecast_panels(panels: Sequence[ForecastPanel], path: str | Path, *, title: str = "") -> None:
    """Draw the last values of series, how the next ones are distributed, and what came, as a PNG.

    Args:
        panels: From above; a few of them.
        path: The PNG to write.
        title: Stands above all of them.
    """
    from matplotlib.figure import Figure

    shown = panels[:MOST_PANELS]
    figure = Figure(figsize=(9, 0.6 + 2.6 * len(shown)), layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    places = figure.subplots(len(shown), squeeze=False)[:, 0]
    for axes, panel in zip(places, shown, strict=True):
        horizon, quantiles = len(panel.quantiles["0.5"]), panel.quantiles
        past = panel.past[-max(PAST_HORIZONS * horizon, LEAST_PAST) :]
        ahead = np.arange(1, horizon + 1)
        axes.plot(np.arange(1 - len(past), 1), past, color=drawing.GREY, linewidth=1.3)
        for low, high, shade in (("0.025", "0.975", 0.15), ("0.1", "0.9", 0.3)):
            axes.fill_between(ahead, quantiles[low], quantiles[high], color=drawing.BLUE, alpha=shade, linewidth=0)
        axes.plot(ahead, quantiles["0.5"], color=drawing.BLUE, linewidth=1.6)
        if panel.actual is not None:
            axes.plot(ahead, panel.actual, color="black", linewidth=1.1)
        axes.axvline(0.5, color=drawing.GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_title(panel.name, loc="left", fontsize=10, fontweight="bold")
        drawing.plain(axes)
    words = "steps from the forecast; median, and the intervals that hold 80 and 95 %"
    places[-1].set_xlabel(f"{words}; black: what came" if any(one.actual is not None for one in shown) else words)
    drawing.write_png(figure, Path(path))
