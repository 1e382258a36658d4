"""What training begins with beside chance: another model's vocabulary and weights, or a file of word vectors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnnkit.data.readers import read_text
from rnnkit.data.tokens import SPECIAL_PIECES, Vocabulary
from rnnkit.errors import ConfigError, DataError
from rnnkit.tasks.base import Task
from rnnkit.tasks.classification import Classification, take_scores
from rnnkit.tasks.options import StackOptions, VocabularyOptions
from rnnkit.tasks.text_classification.config import TextClassificationConfig

if TYPE_CHECKING:
    from rnnkit.tasks.text_classification.task import TextClassification

_log = logging.getLogger("rnnkit.tasks")

KEPT = ("vocabulary", "word_split", "layer", "num_layers", "hidden_size", "residual", "norm", "projection_size")
KEPT += ("learn_initial_state", "embedding_size")
LEAST_FIELDS = 2  # of a line of vectors: a word and a number


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
        ids, vectors = read_vectors(task.config.vectors, task.vocabulary, task.config.embedding_size)
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
    try:
        task.network.stack.load_state_dict(start.network.stack.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:]) or str(error)
        raise ConfigError(
            f"the layers differ from those of the model to go on from ({reason}): leave out the options that "
            "change the network's sizes"
        ) from error


def read_vectors(path: str | Path, vocabulary: Vocabulary, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read the vectors of a vocabulary's words from a file of fastText's or GloVe's form.

    Args:
        path: Text: a word and its numbers a line; a first line of two numbers says how many there are.
        vocabulary: Of words.
        size: Numbers of a vector.

    Returns:
        (found,) ids and (found, size) float32 vectors.

    Raises:
        ConfigError: If the vectors have another size.
        DataError: If a line cannot be read, naming it.
    """
    numbers = {vocabulary.piece(id): id for id in range(len(SPECIAL_PIECES), vocabulary.size)}
    found: dict[int, np.ndarray] = {}
    line = 0
    rest = ""
    for block in read_text([path]).documents[0].blocks():
        *lines, rest = (rest + block).split("\n")
        for text in lines:
            line += 1
            _take_vector(text, numbers, found, size, f"{path}:{line}", first=line == 1)
    if rest:
        _take_vector(rest, numbers, found, size, f"{path}:{line + 1}", first=line == 0)
    if not found:
        raise DataError(f"{path}: it has a vector for none of the {len(numbers):,} words; expected vectors of words.")
    _log.info("%s has vectors for %s of %s words", path, f"{len(found):,}", f"{len(numbers):,}")
    return np.array(list(found)), np.stack(list(found.values()))


def _take_vector(
    text: str, numbers: dict[str, int], found: dict[int, np.ndarray], size: int, place: str, *, first: bool
) -> None:
    fields = text.rstrip().split(" ")
    if first and len(fields) == LEAST_FIELDS and all(field.isdecimal() for field in fields):
        return
    if len(fields) < LEAST_FIELDS:
        raise DataError(f"{place}: this is {text[:40]!r}; expected a word and its {size} numbers.")
    if len(fields) - 1 != size:
        raise ConfigError(
            f"{place}: the vector has {len(fields) - 1} numbers and embedding_size is {size}; "
            f"expected the same: --embedding-size {len(fields) - 1}"
        )
    id = numbers.get(fields[0])
    if id is None or id in found:
        return
    try:
        vector = np.array(fields[1:], dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{place}: {error}; expected {size} numbers after the word.") from None
    if not np.isfinite(vector).all():
        raise DataError(f"{place}: the vector of {fields[0]!r} is not finite; expected numbers.")
    found[id] = vector
