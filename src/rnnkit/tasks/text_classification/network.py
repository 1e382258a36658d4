"""Embedding, stack, pooling, scores: the network of a classifier of texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnnkit.data.tokens import SPECIAL_PIECES
from rnnkit.kernels import State
from rnnkit.layers import DroppedEmbedding, LockedDropout
from rnnkit.tasks.classification import ClassifierNetwork, DirectScores
from rnnkit.tasks.text_classification.config import TextClassificationConfig


class TokenFront(nn.Module):
    """Vectors of tokens.

    Args:
        vocabulary_size: Tokens, the special ones included.
        config: Sizes and dropouts.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, vocabulary_size: int, config: TextClassificationConfig) -> None:
        super().__init__()
        self.output_size = config.embedding_size
        self.embedding = DroppedEmbedding(vocabulary_size, self.output_size, share=config.embedding_dropout)
        self.dropout = LockedDropout(config.input_dropout)
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(self.output_size))
        with torch.no_grad():
            self.embedding.weight[: len(SPECIAL_PIECES)] = 0

    def initial_state(self, batch: int) -> State:
        """Return the empty state: each token is looked up on its own."""
        del batch
        return ()

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Look tokens up: (batch, time) -> (batch, time, embedding_size)."""
        del state, lengths
        return self.dropout(self.embedding(inputs)), ()


def make_network(
    vocabulary_size: int, num_labels: int, config: TextClassificationConfig, direct: DirectScores | None = None
) -> ClassifierNetwork:
    """Draw the network of a classifier of texts."""
    front = TokenFront(vocabulary_size, config)
    stack = config.make_stack(front.output_size, bidirectional=config.bidirectional)
    return ClassifierNetwork(
        front, stack, pooling=config.pooling, dropout=config.dropout, num_labels=num_labels, direct=direct
    )
