"""What all pictures share: colours, plain axes, files that are never half written."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # matplotlib takes most of a second to import, so the functions that draw do it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any kind of colour vision
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5F6368"
DOTS_PER_INCH = 150


def plain(axes: Axes) -> None:
    """Leave only the lines that carry information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E3E5E8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0)


def literal(text: str) -> str:
    """Return what shows a text as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure aside, then rename, so that a reader never sees half a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    aside = path.with_name(f".{path.name}.part")
    figure.set_dpi(DOTS_PER_INCH)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box stands for what the font lacks
            FigureCanvasAgg(figure).print_png(aside)  # draws once, where savefig draws twice
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
