"""What training begins with beside chance: another model's vocabulary and weights, or a file of word vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rnnkit.data.tokens import SPECIAL_PIECES, Vocabulary
from rnnkit.data.vectors import read_vectors
from rnnkit.errors import ConfigError
from rnnkit.tasks import weights
from rnnkit.tasks.base import Task
from rnnkit.tasks.classification import Classification, take_scores
from rnnkit.tasks.options import StackOptions, VocabularyOptions
from rnnkit.tasks.text_classification.config import TextClassificationConfig

if TYPE_CHECKING:
    from rnnkit.tasks.text_classification.task import TextClassification

KEPT = ("vocabulary", "word_split", "layer", "num_layers", "hidden_size", "residual", "norm", "projection_size")
KEPT += ("learn_initial_state", "embedding_size")


def config_from(start: Task) -> TextClassificationConfig:
    """Return the options of a classifier that goes on from a language model or a classifier.

    Args:
        start: The model.

    Returns:
        Those of the classifier, or the defaults with the language model's sizes.
    """
    if isinstance(start.config, TextClassificationConfig):
        return start.config
    assert isinstance(start.config, (StackOptions, VocabularyOptions))
    return TextClassificationConfig(**{name: getattr(start.config, name) for name in KEPT}, lowercase=False)


def choose_vocabulary(texts: list[str], config: TextClassificationConfig, start: Any) -> Vocabulary:
    """Learn a vocabulary from training texts, or add their new words or characters to that of a model.

    Args:
        texts: Of training.
        config: Names the kind.
        start: The model to go on from, or None.

    Returns:
        The vocabulary.

    Raises:
        ConfigError: If the model has another kind.
    """
    if start is None:
        return config.learn_vocabulary(texts)
    if start.vocabulary.kind != config.vocabulary:
        raise ConfigError(
            f"vocabulary is {config.vocabulary!r}; expected {start.vocabulary.kind!r}, as the model to go on from has"
        )
    return start.vocabulary.grown(texts, size=config.vocabulary_size, minimum_count=config.least_count)


def begin(task: TextClassification, start: Any) -> None:
    """Give a new classifier the weights of a model, or the word vectors of a file, where there is one.

    Args:
        task: Its vocabulary is that of `choose_vocabulary`.
        start: The model to go on from, or None.

    Raises:
        ConfigError: If sizes differ.
        DataError: If the vectors cannot be read.
    """
    if start is not None:
        take_weights(task, start)
        if isinstance(start, Classification):
            take_scores(task, start)
    if start is None and task.config.vectors is not None:
        pieces = range(len(SPECIAL_PIECES), task.vocabulary.size)
        numbers = {task.vocabulary.piece(id): id for id in pieces}
        ids, vectors = read_vectors(task.config.vectors, numbers, task.config.embedding_size)
        with torch.no_grad():
            task.front.embedding.weight[torch.from_numpy(ids)] = torch.from_numpy(vectors)


def take_weights(task: TextClassification, start: Any) -> None:
    """Begin with the embedding and the layers of a model, and with the scores of the labels it knows.

    Tokens that it does not know begin with the mean of its vectors.

    Args:
        task: New; its vocabulary begins with that of `start`.
        start: A language model or a classifier.

    Raises:
        ConfigError: If the sizes differ.
    """
    vectors = start.token_vectors()
    weight = task.front.embedding.weight
    if vectors.shape[1] != weight.shape[1]:
        raise ConfigError(
            f"embedding_size is {weight.shape[1]}; expected {vectors.shape[1]}, as the model to go on from has"
        )
    with torch.no_grad():
        weight[: len(vectors)] = vectors
        weight[len(vectors) :] = vectors[len(SPECIAL_PIECES) :].mean(0)
    weights.take_weights(task.network.stack, start.network.stack)
