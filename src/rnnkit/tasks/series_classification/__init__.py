"""Series classification: a label for a series of measurements, as early as it is safe, live too."""

from rnnkit.tasks.series_classification.config import SeriesClassificationConfig
from rnnkit.tasks.series_classification.results import SeriesLabel, StepEvent
from rnnkit.tasks.series_classification.stream import SeriesStream
from rnnkit.tasks.series_classification.task import SeriesClassification

__all__ = ["SeriesClassification", "SeriesClassificationConfig", "SeriesLabel", "SeriesStream", "StepEvent"]
