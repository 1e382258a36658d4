"""Pictures of runs and of answers."""

from rnnkit.figures.answers import alignment, confusion_matrix, earliness
from rnnkit.figures.forecasts import MOST_PANELS, ForecastPanel, forecast_panels
from rnnkit.figures.runs import training_curves, training_diagnostics

__all__ = [
    "MOST_PANELS",
    "ForecastPanel",
    "alignment",
    "confusion_matrix",
    "earliness",
    "forecast_panels",
    "training_curves",
    "training_diagnostics",
]
