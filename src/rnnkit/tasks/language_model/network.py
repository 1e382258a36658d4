"""Embedding, stack, softmax: the network of a language model."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnkit.data.tokens import SPECIAL_PIECES
from rnnkit.kernels import State
from rnnkit.layers import LAYERS, DroppedEmbedding, LockedDropout, Stack
from rnnkit.tasks.language_model.config import LanguageModelConfig

NUM_SPECIAL = len(SPECIAL_PIECES)


class LanguageNetwork(nn.Module):
    """Next-token logits from tokens, with the state carried by the caller.

    Args:
        vocabulary_size: Tokens, the special ones included.
        config: Sizes and dropouts.
    """

    def __init__(self, vocabulary_size: int, config: LanguageModelConfig) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.embedding = DroppedEmbedding(vocabulary_size, config.embedding_size, share=config.embedding_dropout)
        self.input_dropout = LockedDropout(config.input_dropout)
        self.stack = Stack(
            LAYERS[config.layer],
            config.embedding_size,
            config.hidden_size,
            num_layers=config.num_layers,
            residual=config.residual,
            norm=config.norm,
            dropout=config.dropout,
            options=config.layer_options(),
        )
        self.output_dropout = LockedDropout(config.dropout)
        size = self.stack.output_size
        self.project = nn.Linear(size, config.embedding_size) if config.tied and size != config.embedding_size else None
        self.output_weight = None if config.tied else nn.Parameter(torch.empty(vocabulary_size, size))
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(config.embedding_size))
        with torch.no_grad():
            self.embedding.weight[:NUM_SPECIAL] = 0  # rarely trained: as inputs they must not drive the state anywhere
        if self.output_weight is not None:
            nn.init.normal_(self.output_weight, std=1 / math.sqrt(size))

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the token after each of `tokens`.

        Args:
            tokens: (batch, time) ids.
            state: As returned by the previous call; None begins new documents.

        Returns:
            Logits (batch, time, vocabulary_size) and the state after the last token.
        """
        vectors = self.input_dropout(self.embedding(tokens))  # (batch, time, embedding_size)
        outputs, after = self.stack(vectors, state)
        features = self.output_dropout(outputs)
        if self.project is not None:
            features = self.project(features)  # (batch, time, embedding_size)
        weight = self.embedding.weight if self.output_weight is None else self.output_weight
        return linear(features, weight, self.output_bias), after
