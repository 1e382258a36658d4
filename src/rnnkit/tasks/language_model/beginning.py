"""What training that goes on from a model begins with: its vocabulary, grown, and its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from rnnkit.data.vocabulary import Vocabulary
from rnnkit.errors import ConfigError
from rnnkit.tasks.language_model.config import LanguageModelConfig
from rnnkit.tasks.language_model.network import NUM_SPECIAL, LanguageNetwork
from rnnkit.tasks.weights import sizes_differ

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel


def grow_vocabulary(start: LanguageModel, texts: Iterable[str], config: LanguageModelConfig) -> Vocabulary:
    """Add the new characters or words of some texts to a model's vocabulary, unless an adaptive softmax clusters it.

    The clusters are by frequency: what is added at the end would stand in the wrong one.

    Args:
        start: The model.
        texts: New training documents.
        config: Names the kind, the most tokens and the least count.

    Returns:
        A vocabulary in which every id means what it meant.

    Raises:
        ConfigError: If the kind is another one.
    """
    if config.vocabulary != start.config.vocabulary:
        raise ConfigError(
            f"vocabulary is {config.vocabulary!r}; expected {start.config.vocabulary!r}, as the model to go on from has"
        )
    if start.network.softmax is not None:
        return start.vocabulary
    return start.vocabulary.grown(texts, size=config.vocabulary_size, minimum_count=config.least_count)


def take_weights(network: LanguageNetwork, trained: LanguageNetwork) -> None:
    """Begin where another network is: with all its weights, and vectors of the mean for the tokens it does not know.

    Args:
        network: Its vocabulary begins with that of `trained`.
        trained: Of the same sizes otherwise.

    Raises:
        ConfigError: If another size differs.
    """
    theirs = trained.state_dict()
    for name, tensor in network.state_dict().items():
        before = theirs.get(name)
        grows = before is not None and len(before) == trained.vocabulary_size and before.shape[1:] == tensor.shape[1:]
        if before is None or (before.shape != tensor.shape and not grows):
            raise sizes_differ(name, tensor, before)
        with torch.no_grad():
            tensor[: len(before)] = before
            tensor[len(before) :] = before[NUM_SPECIAL:].mean(0)
