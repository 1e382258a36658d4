"""Series classification: a label for a series of measurements, as early as it is safe, live too."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.series_classification.config import SeriesClassificationConfig
    from rnnkit.tasks.series_classification.results import SeriesLabel, StepEvent
    from rnnkit.tasks.series_classification.stream import SeriesStream
    from rnnkit.tasks.series_classification.task import SeriesClassification

__all__ = ["SeriesClassification", "SeriesClassificationConfig", "SeriesLabel", "SeriesStream", "StepEvent"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("SeriesClassificationConfig",),
        ".results": (
            "SeriesLabel",
            "StepEvent",
        ),
        ".stream": ("SeriesStream",),
        ".task": ("SeriesClassification",),
    },
)
