"""What the training of a classifier of series begins with: facts of the series, or another model's weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.data.series import SeriesSet
from rnnkit.tasks import weights
from rnnkit.tasks.classification import Labels, take_scores
from rnnkit.tasks.saved import reading
from rnnkit.tasks.series_classification.config import SeriesClassificationConfig
from rnnkit.tasks.series_classification.steps import prepare

if TYPE_CHECKING:
    from rnnkit.tasks.series_classification.task import SeriesClassification

NEW = ("output.", "direct.")  # parts of a network that begin anew beside another model's weights
USUAL_STEPS = 100  # of a series: enough to follow a gesture, few enough to learn quickly


def learn_facts(
    examples: SeriesSet, labels: Labels, config: SeriesClassificationConfig
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Collect what is remembered of the training series.

    Args:
        examples: The series.
        labels: Their labels.
        config: How samples become steps.

    Returns:
        "channels" by name, their "means" (what stands for a value missing at the beginning), the "typical" (median)
        number of steps of each label, "notes", "audio" (whether they are recordings), "stride" (samples a step);
        and the series as steps, (time, channels) each.
    """
    sums = np.stack([np.nansum(one.values, axis=0, dtype=np.float64) for one in examples.examples]).sum(0)
    counts = np.stack([np.isfinite(one.values).sum(axis=0) for one in examples.examples]).sum(0)
    means = (sums / np.maximum(counts, 1)).astype(np.float32)
    stride = config.stride or max(1, round(_median_steps(examples, config) / USUAL_STEPS))
    config = replace(config, stride=stride)
    series = [prepare(one.values, config, before=means) for one in examples.examples]
    numbers = labels.encode((one.labels, one.place) for one in examples.examples)
    lengths = np.array([len(one) for one in series])
    typical = [int(np.median(lengths[numbers == number])) for number in range(len(labels))]
    facts = {
        "channels": list(examples.channels),
        "means": means.tolist(),
        "typical": typical,
        "notes": list(examples.notes),
        "audio": examples.audio,
        "stride": stride,
    }
    return facts, series


def _median_steps(examples: SeriesSet, config: SeriesClassificationConfig) -> float:
    return config.resample or float(np.median([len(one.values) for one in examples.examples]))


def load_facts(path: Path, labels: Labels) -> dict[str, Any]:
    """Read what `learn_facts` collected.

    Args:
        path: A JSON file.
        labels: Of the model.

    Returns:
        The facts.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    with reading(path):
        facts = json.loads(path.read_text())
        fits = len(facts["means"]) == len(facts["channels"]) and len(facts["typical"]) == len(labels)
        kinds = {"notes": list, "audio": bool, "stride": int}
        if not fits or not all(isinstance(facts[name], kind) for name, kind in kinds.items()):
            raise ValueError("its parts do not fit one another")
    return facts


def take_weights(task: SeriesClassification, start: SeriesClassification) -> None:
    """Begin with the weights of a model of the same sizes, and with its scores of the labels that both have.

    Args:
        task: New.
        start: Trained.

    Raises:
        ConfigError: If a size differs.
    """
    weights.take_weights(task.network, start.network, new=NEW)
    take_scores(task, start)
