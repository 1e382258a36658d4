"""Which runner runs which task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnnkit.runner.base import Runner, read_facts
from rnnkit.runner.classifiers import SeriesRunner, TextRunner
from rnnkit.runner.forecaster import ForecastRunner
from rnnkit.runner.language import LanguageRunner
from rnnkit.runner.recogniser import SpeechRunner
from rnnkit.runner.tagger import TagRunner
from rnnkit.runner.translator import TranslationRunner

RUNNERS: dict[str, type[Runner]] = {
    "language-model": LanguageRunner,
    "text-classification": TextRunner,
    "series-classification": SeriesRunner,
    "tagging": TagRunner,
    "forecasting": ForecastRunner,
    "translation": TranslationRunner,
    "speech": SpeechRunner,
}


def load(folder: str | Path, *, threads: int = 1) -> Any:
    """Load what `rnnkit export --format onnx` wrote; torch is not needed.

    Args:
        folder: Of the export.
        threads: That onnxruntime may use.

    Returns:
        The runner; its `predict` gives what the model's does, by the same types.

    Raises:
        CheckpointError: If a file is missing or damaged.

    Example:
        >>> import rnnkit.runner
        >>> rnnkit.runner.load("runs/gestures/export/onnx").predict([strokes])[0].label  # doctest: +SKIP
        'x'
    """
    place = Path(folder)
    return RUNNERS[read_facts(place)["task"]](place, threads=threads)
