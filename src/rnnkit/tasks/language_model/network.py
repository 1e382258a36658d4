"""Embedding, stack, softmax: the network of a language model."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnkit.data.tokens import SPECIAL_PIECES
from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.layers import (
    AdaptiveEmbedding,
    AdaptiveSoftmax,
    DroppedEmbedding,
    LockedDropout,
    default_cutoffs,
    linear_cross_entropy,
)
from rnnkit.tasks.language_model.config import LanguageModelConfig

NUM_SPECIAL = len(SPECIAL_PIECES)
SMALLEST_ADAPTIVE = 64  # symbols


class LanguageNetwork(nn.Module):
    """Next-token logits from tokens, with the state carried by the caller: read, then features, then the softmax.

    Args:
        vocabulary_size: Tokens, the special ones included.
        config: Sizes and dropouts.

    Raises:
        ConfigError: If an adaptive softmax is asked for over a handful of tokens.
    """

    def __init__(self, vocabulary_size: int, config: LanguageModelConfig) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding, self.softmax = _make_embedding(vocabulary_size, config)
        self.input_dropout = LockedDropout(config.input_dropout)
        self.stack = config.make_stack(config.embedding_size)
        dropped = config.dropout if config.output_dropout is None else config.output_dropout
        self.output_dropout = LockedDropout(dropped)
        size = self.stack.output_size
        self.project = nn.Linear(size, config.embedding_size) if config.tied and size != config.embedding_size else None
        self.output_weight = None if config.tied else nn.Parameter(torch.empty(vocabulary_size, size))
        self.output_bias = None if self.softmax else nn.Parameter(torch.zeros(vocabulary_size))
        self.activation_penalty, self.change_penalty = config.activation_penalty, config.change_penalty
        if self.output_weight is not None:
            nn.init.normal_(self.output_weight, std=1 / math.sqrt(size))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        weight = self.embedding.weight if isinstance(self.embedding, DroppedEmbedding) else self.embedding.tables[0]
        return weight.device

    def token_vectors(self) -> Tensor:
        """Return the vectors of all tokens as the stack reads them, (vocabulary_size, embedding_size)."""
        was_training = self.embedding.training
        with torch.no_grad():
            vectors = self.embedding.eval()(torch.arange(self.vocabulary_size, device=self.device)[None])[0]
        self.embedding.train(was_training)
        return vectors

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token after each of `tokens`.

        Args:
            tokens: (batch, time) ids.
            state: As returned by the previous call; None begins new documents.

        Returns:
            Logits (batch, time, vocabulary_size) and the state after the last token.
        """
        outputs, after = self.read(tokens, state)
        return self.logits(self.output_dropout(outputs)), after

    def following(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Predict the token after each of `tokens` in float32, as `forward` does."""
        logits, after = self(tokens, state)
        return logits.float(), after

    def read(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the stack over tokens.

        Args:
            tokens: (batch, time) ids.
            state: As returned by the previous call; None begins new documents.

        Returns:
            The last layer's outputs (batch, time, output_size) and the state after the last token.
        """
        return self.stack(self.input_dropout(self.embedding(tokens)), state)

    def logits(self, outputs: Tensor) -> Tensor:
        """Predict from the stack's outputs: (batch, time, output_size) -> (batch, time, vocabulary_size)."""
        features = self._features(outputs)
        if isinstance(self.embedding, AdaptiveEmbedding):
            assert self.softmax is not None
            return self.softmax(features, self.embedding)
        return linear(features, *self._output())

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Add up the cross-entropy of all valid targets.

        Args:
            outputs: (batch, time, output_size) of the stack.
            targets: (batch, time) ids, PADDING where there is none.
            label_smoothing: Share in [0, 1) of the probability spread over the vocabulary.

        Returns:
            Scalar, nats.
        """
        features = self._features(outputs)
        if isinstance(self.embedding, AdaptiveEmbedding):
            assert self.softmax is not None
            return self.softmax.loss(features, targets, self.embedding, label_smoothing=label_smoothing)
        return linear_cross_entropy(features, *self._output(), targets, label_smoothing=label_smoothing)

    @property
    def penalised(self) -> bool:
        """Whether training lowers more than the cross-entropy."""
        return self.training and (self.activation_penalty > 0 or self.change_penalty > 0)

    def penalty(self, outputs: Tensor, dropped: Tensor) -> Tensor:
        """Return the penalties of Merity et al. 2018 on large activations (AR) and on their fast changes (TAR).

        Args:
            outputs: (batch, time, output_size) of the stack.
            dropped: The same after dropout.

        Returns:
            Scalar, a mean over the batch.
        """
        penalty = self.activation_penalty * dropped.float().square().mean()
        if outputs.shape[1] > 1:
            penalty = penalty + self.change_penalty * outputs.float().diff(dim=1).square().mean()
        return penalty

    def _output(self) -> tuple[Tensor, Tensor]:
        """Return the weight (vocabulary_size, size) and bias of a full softmax."""
        assert isinstance(self.embedding, DroppedEmbedding)
        assert self.output_bias is not None
        return self.embedding.weight if self.output_weight is None else self.output_weight, self.output_bias

    def _features(self, outputs: Tensor) -> Tensor:
        return outputs if self.project is None else self.project(outputs)  # (batch, time, embedding_size)


def _make_embedding(
    vocabulary_size: int, config: LanguageModelConfig
) -> tuple[DroppedEmbedding | AdaptiveEmbedding, AdaptiveSoftmax | None]:
    size, share = config.embedding_size, config.embedding_dropout
    if config.adapts_softmax(vocabulary_size):
        if vocabulary_size < SMALLEST_ADAPTIVE:
            raise ConfigError(
                f"softmax is 'adaptive' over {vocabulary_size} tokens; expected {SMALLEST_ADAPTIVE} or more, or 'full'"
            )
        cutoffs = default_cutoffs(vocabulary_size)
        embedding = AdaptiveEmbedding(vocabulary_size, size, cutoffs=cutoffs, share=share)
        weight, softmax = embedding.tables[0], AdaptiveSoftmax(embedding)
    else:
        embedding, softmax = DroppedEmbedding(vocabulary_size, size, share=share), None
        nn.init.normal_(embedding.weight, std=1 / math.sqrt(size))
        weight = embedding.weight
    with torch.no_grad():
        weight[:NUM_SPECIAL] = 0  # rarely trained: as inputs they must not drive the state anywhere
    return embedding, softmax
