"""Pictures of runs and of answers."""

from rnnkit.figures.answers import alignment, confusion_matrix, earliness
from rnnkit.figures.comparisons import layer_comparison
from rnnkit.figures.diagnoses import gradients_by_distance, layers_over_training, text_heat_map
from rnnkit.figures.forecasts import MOST_PANELS, ForecastPanel, forecast_panels
from rnnkit.figures.runs import training_curves, training_diagnostics

__all__ = [
    "MOST_PANELS",
    "ForecastPanel",
    "alignment",
    "confusion_matrix",
    "earliness",
    "forecast_panels",
    "gradients_by_distance",
    "layer_comparison",
    "layers_over_training",
    "text_heat_map",
    "training_curves",
    "training_diagnostics",
]
