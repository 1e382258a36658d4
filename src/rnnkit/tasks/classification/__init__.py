"""One label, or some, for a whole sequence: what the tasks that classify texts and series share."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.classification.base import Classification, take_scores
    from rnnkit.tasks.classification.config import ClassificationOptions
    from rnnkit.tasks.classification.data import LabelledBatch, LabelledSequences
    from rnnkit.tasks.classification.decision import Decision
    from rnnkit.tasks.classification.labels import Labels
    from rnnkit.tasks.classification.network import ClassifierNetwork, DirectScores
    from rnnkit.tasks.classification.results import LabelProbability, likeliest_labels

__all__ = [
    "Classification",
    "ClassificationOptions",
    "ClassifierNetwork",
    "Decision",
    "DirectScores",
    "LabelProbability",
    "LabelledBatch",
    "LabelledSequences",
    "Labels",
    "likeliest_labels",
    "take_scores",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".base": (
            "Classification",
            "take_scores",
        ),
        ".config": ("ClassificationOptions",),
        ".data": (
            "LabelledBatch",
            "LabelledSequences",
        ),
        ".decision": ("Decision",),
        ".labels": ("Labels",),
        ".network": (
            "ClassifierNetwork",
            "DirectScores",
        ),
        ".results": (
            "LabelProbability",
            "likeliest_labels",
        ),
    },
)
