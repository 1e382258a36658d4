"""The jobs rnnkit does; each is one class behind one contract."""

from rnnkit.errors import ConfigError
from rnnkit.tasks.base import Task
from rnnkit.tasks.forecasting import Forecasting
from rnnkit.tasks.language_model import LanguageModel
from rnnkit.tasks.series_classification import SeriesClassification
from rnnkit.tasks.speech import SpeechRecognition
from rnnkit.tasks.tagging import Tagging
from rnnkit.tasks.text_classification import TextClassification
from rnnkit.tasks.translation import Translator

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

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        LanguageModel,
        TextClassification,
        SeriesClassification,
        Tagging,
        Forecasting,
        Translator,
        SpeechRecognition,
    )
}


def find_task(name: str) -> type[Task]:
    """Return the task of a name or everyday alias.

    Raises:
        ConfigError: If there is none, naming the ones there are.
    """
    for task in TASKS.values():
        if name == task.name or name in task.aliases:
            return task
    raise ConfigError(f"there is no task {name!r}; choose one of {', '.join(TASKS)}")
