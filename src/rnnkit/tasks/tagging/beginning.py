"""What training begins with beside chance: another tagger, a character language model, or a file of word vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnnkit.data.vectors import read_vectors, vector_words
from rnnkit.tasks.base import Task
from rnnkit.tasks.language_model import LanguageModel
from rnnkit.tasks.tagging.config import TaggingConfig
from rnnkit.tasks.tagging.features import FIRST_CHARACTER, WordFeatures, normalise
from rnnkit.tasks.tagging.reader import LanguageReader
from rnnkit.tasks.weights import sizes_differ

if TYPE_CHECKING:
    from rnnkit.tasks.tagging.task import Tagging

MOST_VECTORS = 200_000  # words of a file that are known though training does not have them: the first, most frequent


def config_from(start: Task) -> TaggingConfig:
    """Return the options of a tagger that goes on from another one, or begins with a language model: the defaults."""
    return start.config if isinstance(start.config, TaggingConfig) else TaggingConfig()


def choose_reader(start: Any) -> LanguageReader | None:
    """Take the language model to begin with, or that of the tagger to go on from, if there is one.

    Args:
        start: A language model, a tagger or None.

    Returns:
        It, in a copy.

    Raises:
        ConfigError: If the language model reads other tokens than characters.
    """
    if isinstance(start, LanguageModel):
        return LanguageReader.of(start)
    theirs = None if start is None else start.network.reader
    if theirs is None:
        return None
    reader = LanguageReader(theirs.config, theirs.vocabulary)
    reader.load_state_dict(theirs.state_dict())
    return reader


def begin(task: Tagging, start: Any) -> None:
    """Give a new tagger the weights of another one, or the word vectors of a file, where there is one.

    Args:
        task: Its words are those of `learn_words`.
        start: The model to begin with, or None.

    Raises:
        ConfigError: If sizes differ.
        DataError: If the vectors cannot be read.
    """
    if isinstance(start, type(task)):
        with torch.no_grad():
            take_weights(task, start)
    elif task.config.vectors is not None:
        numbers = {word: number for number, word in enumerate(task.words.words, start=1)}
        ids, vectors = read_vectors(task.config.vectors, numbers, task.config.embedding_size, change=normalise)
        with torch.no_grad():
            task.network.front.embedding.weight[torch.from_numpy(ids)] = torch.from_numpy(vectors)


def take_weights(task: Tagging, start: Tagging) -> None:
    """Begin with the weights of another tagger: for the words, characters, features and tags it knows too.

    Args:
        task: New.
        start: Trained.

    Raises:
        ConfigError: If the sizes differ.
    """
    ours, theirs = task.network.state_dict(), start.network.state_dict()
    words = _matches(start.words.words, task.words.words, first=1)
    characters = _matches(start.words.characters, task.words.characters, first=FIRST_CHARACTER)
    features = _matches(start.words.features, task.words.features, first=1)
    tags = _matches(start.tags.names, task.tags.names, first=0)
    rows = {
        "front.embedding.weight": words,
        "front.characters.embedding.weight": characters,
        "front.features.weight": features,
        "output.weight": tags,
        "output.bias": tags,
        "chain.start": tags,
        "chain.end": tags,
    }
    for name, tensor in ours.items():
        before = theirs.get(name)
        if name == "chain.transitions" and before is not None:
            tensor[tags[1][:, None], tags[1]] = before[tags[0][:, None], tags[0]]
        elif name == "direct.table.weight" and before is not None:
            parts = [part.view(len(part), -1, len(one.tags)) for part, one in ((tensor, task), (before, start))]
            if parts[0].shape[1] != parts[1].shape[1]:
                raise sizes_differ(name, tensor, before)
            for place in range(parts[0].shape[1]):
                taken = parts[1][:, place][features[0]][:, tags[0]]
                parts[0][features[1][:, None], place, tags[1]] = taken
        elif name in rows and before is not None and before.shape[1:] == tensor.shape[1:]:
            tensor[rows[name][1]] = before[rows[name][0]]
        elif before is not None and before.shape == tensor.shape:
            tensor.copy_(before)
        else:
            raise sizes_differ(name, tensor, before)


def _matches(theirs: Sequence[str], ours: Sequence[str], *, first: int) -> tuple[Tensor, Tensor]:
    """Return the rows of the same names there and here; the `first` rows have no name and are the same."""
    places: Mapping[str, int] = {name: place for place, name in enumerate(theirs, start=first)}
    known = [(places[name], place) for place, name in enumerate(ours, start=first) if name in places]
    pairs = [(place, place) for place in range(first)] + known
    there, here = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
    return there, here


def learn_words(words: Iterable[str], config: TaggingConfig, *, start: Any) -> WordFeatures:
    """Collect what training sentences show of words; what a tagger to go on from knows stays known.

    Args:
        words: Of all sentences.
        config: Says which to keep.
        start: The model to begin with, or None.

    Returns:
        The features; words that a file of vectors has follow those of training.

    Raises:
        DataError: If the file of vectors cannot be read.
    """
    more: Iterable[str] = () if config.vectors is None else islice(vector_words(config.vectors), MOST_VECTORS)
    learnt = WordFeatures.learn(words, minimum_count=config.minimum_count, size=config.vocabulary_size, more=more)
    return learnt.joined(start.words) if isinstance(getattr(start, "words", None), WordFeatures) else learnt
