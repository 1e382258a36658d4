"""The jobs rnnkit does; each is one class behind one contract."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.base import Task
    from rnnkit.tasks.forecasting.task import Forecasting
    from rnnkit.tasks.language_model.task import LanguageModel
    from rnnkit.tasks.series_classification.task import SeriesClassification
    from rnnkit.tasks.speech.task import SpeechRecognition
    from rnnkit.tasks.table import TASKS, find_task
    from rnnkit.tasks.tagging.task import Tagging
    from rnnkit.tasks.text_classification.task import TextClassification
    from rnnkit.tasks.translation.task import Translator

__all__ = [
    "TASKS",
    "Forecasting",
    "LanguageModel",
    "SeriesClassification",
    "SpeechRecognition",
    "Tagging",
    "Task",
    "TextClassification",
    "Translator",
    "find_task",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".base": ("Task",),
        ".forecasting.task": ("Forecasting",),
        ".language_model.task": ("LanguageModel",),
        ".series_classification.task": ("SeriesClassification",),
        ".speech.task": ("SpeechRecognition",),
        ".table": ("TASKS", "find_task"),
        ".tagging.task": ("Tagging",),
        ".text_classification.task": ("TextClassification",),
        ".translation.task": ("Translator",),
    },
)
