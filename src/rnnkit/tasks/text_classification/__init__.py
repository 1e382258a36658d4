"""Text classification: a label, or some, for a text, and the score so far while it is read."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.text_classification.config import TextClassificationConfig
    from rnnkit.tasks.text_classification.results import ScoreEvent, TextLabel
    from rnnkit.tasks.text_classification.stream import ScoreStream
    from rnnkit.tasks.text_classification.task import TextClassification

__all__ = ["ScoreEvent", "ScoreStream", "TextClassification", "TextClassificationConfig", "TextLabel"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("TextClassificationConfig",),
        ".results": (
            "ScoreEvent",
            "TextLabel",
        ),
        ".stream": ("ScoreStream",),
        ".task": ("TextClassification",),
    },
)
