"""Parts of networks as modules of plain tensors: what a graph computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers.attention import Memory
from rnnkit.tasks.forecasting import Forecasting
from rnnkit.tasks.forecasting.ahead import apart
from rnnkit.tasks.tagging.data import WordBatch
from rnnkit.tasks.translation.network import Decoding


class TagScores(nn.Module):
    """Scores of tags from what is seen of words, whole sentences or words as they come.

    Args:
        network: A TaggerNetwork.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, words: Tensor, characters: Tensor, lengths: Tensor, features: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...] | Tensor:
        """Compute: (batch, time), (batch, time, characters), (batch, time), (batch, time, features) -> scores."""
        batch = WordBatch(words.flatten(), characters.flatten(0, 1), lengths.flatten(), features.flatten(0, 1))
        places = torch.arange(words.shape[0] * words.shape[1]).reshape(words.shape)
        if not self.network.streamable:
            return self.network(places, batch, rest[0])
        scores, after = self.network.running(self.network.features(places, batch), rest)
        return (scores, *after)


class Encoder(nn.Module):
    """What a translator remembers of a sentence, and where its decoder begins.

    Args:
        network: A TranslationNetwork.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Compute keys, values, the mask and the decoder's state."""
        memory, state, _ = self.network.encode(tokens, lengths)
        return (*memory, *state)


class DecoderStep(nn.Module):
    """One more token of translations.

    Args:
        network: A TranslationNetwork.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, token: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Compute log-probabilities (batch, tokens), attention (batch, source), and the state."""
        features, weights, after = self.network.decode(token, Decoding(Memory(keys, values, mask), state))
        return (self.network.log_probabilities(features)[:, 0], weights[:, 0], *after.state)


class Quantiles(nn.Module):
    """A forecaster's head.

    Args:
        task: A Forecasting model.
    """

    def __init__(self, task: Forecasting) -> None:
        super().__init__()
        self.head, self.views = task.network.head, task.views

    def forward(self, hidden: Tensor, ahead: Tensor) -> Tensor:
        """Compute: (batch, state_size), (batch, size) of `joined` -> (batch, horizon, levels)."""
        return self.head(hidden, apart(self.views, ahead))


class Running(nn.Module):
    """Steps in, answers after each out, going on from a state.

    Args:
        network: Holds the weights.
        read: (batch, time, ...) and a state, to (batch, time, ...) and the state after them.
    """

    def __init__(self, network: nn.Module, read: Callable[[Tensor, State], tuple[Tensor, State]]) -> None:
        super().__init__()
        self.network, self.read = network, read

    def forward(self, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Compute."""
        outputs, after = self.read(inputs, state)
        return (outputs, *after)
