"""Turn sums over a data set into the numbers people compare."""

from rnnkit.metrics.labels import (
    calibration_error,
    classification_metrics,
    f1_scores,
    multi_label_metrics,
    span_metrics,
)
from rnnkit.metrics.language import language_model_metrics
from rnnkit.metrics.names import format_metric, metric_words

__all__ = [
    "calibration_error",
    "classification_metrics",
    "f1_scores",
    "format_metric",
    "language_model_metrics",
    "metric_words",
    "multi_label_metrics",
    "span_metrics",
]
