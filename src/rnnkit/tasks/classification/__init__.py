"""One label, or some, for a whole sequence: what the tasks that classify texts and series share."""

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
