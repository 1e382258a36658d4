"""The table of the jobs, by name."""

from rnnkit.errors import ConfigError
from rnnkit.tasks.base import Task
from rnnkit.tasks.forecasting.task import Forecasting
from rnnkit.tasks.language_model.task import LanguageModel
from rnnkit.tasks.series_classification.task import SeriesClassification
from rnnkit.tasks.speech.task import SpeechRecognition
from rnnkit.tasks.tagging.task import Tagging
from rnnkit.tasks.text_classification.task import TextClassification
from rnnkit.tasks.translation.task import Translator

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
