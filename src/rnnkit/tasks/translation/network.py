"""Encoder, attention, decoder: the network that translates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax

from rnnkit.kernels import State
from rnnkit.layers import ATTENTIONS, Attention, DroppedEmbedding, LockedDropout, Memory, linear_cross_entropy
from rnnkit.layers.attention import MultiHeadAttention
from rnnkit.sequences import zero_padding
from rnnkit.tasks.translation.config import TranslationConfig


class Decoding(NamedTuple):
    """Where the decoder stands.

    Attributes:
        memory: Of the source sentences, a row each.
        state: Of the decoder, (rows, size) each: the same number of rows for each sentence, side by side.
        hypotheses: Rows for each sentence.
    """

    memory: Memory
    state: State
    hypotheses: int = 1

    def select(self, rows: Tensor, parents: Tensor) -> Decoding:
        """Keep some sentences, (kept,), and of each some of its rows, (kept, beam)."""
        places = (rows[:, None] * self.hypotheses + parents).flatten()
        memory = self.memory if len(rows) == len(self.memory.mask) else self.memory.select(rows)
        return Decoding(memory, tuple(part[places] for part in self.state), parents.shape[1])


class TranslationNetwork(nn.Module):
    """An encoder, and a decoder that attends to what it says.

    The decoder's first layer reads the words so far; its output asks the attention; the layers above read both, so that
    all steps of a known translation are computed at once (after Wu et al. 2016). With input feeding (Luong et al. 2015)
    the first layer also reads what was said last, and steps are computed one by one.

    Args:
        source_size: Tokens of the source's vocabulary.
        target_size: Tokens of the target's; both sides have one vocabulary where `config.joint`.
        config: Sizes and dropouts.

    Raises:
        ConfigError: If the sizes do not fit one another.
    """

    def __init__(self, source_size: int, target_size: int, config: TranslationConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.feeds = config.input_feeding
        self.target_embedding = _embedding(target_size, config)
        self.source_embedding = None if config.joint else _embedding(source_size, config)
        self.input_dropout = LockedDropout(config.input_dropout)
        ways = 2 if config.bidirectional else 1
        halved = replace(config, hidden_size=config.hidden_size // ways, bidirectional=False)
        self.encoder = halved.make_stack(size, bidirectional=config.bidirectional)
        self.first = replace(config, num_layers=1).make_stack(size + (size if self.feeds else 0))
        self.attention = _attention(config, self.first.output_size, self.encoder.output_size)
        read = self.first.output_size + self.attention.output_size
        self.above = (
            replace(config, num_layers=config.num_layers - 1).make_stack(read) if config.num_layers > 1 else None
        )
        said = read if self.above is None else self.above.output_size + self.attention.output_size
        self.readout = nn.Linear(said + size, size)
        width = sum(map(_width, self._begun(1)))
        self.bridge = nn.Linear(self.encoder.output_size, width) if config.bridge and width else None
        self.dropout = LockedDropout(config.dropout)
        self.output_weight = None if config.tied else nn.Parameter(torch.empty(target_size, size))
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        if self.output_weight is not None:
            nn.init.normal_(self.output_weight, std=1 / math.sqrt(size))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.output_bias.device

    def encode(self, source: Tensor, lengths: Tensor) -> Decoding:
        """Read source sentences.

        Args:
            source: (batch, source_time) ids.
            lengths: (batch,) tokens of each, at least one.

        Returns:
            The decoder before its first word, a row a sentence.
        """
        embedded = self.input_dropout((self.source_embedding or self.target_embedding)(source))
        outputs, _ = self.encoder(embedded, lengths=lengths)
        outputs = self.dropout(outputs)
        memory = self.attention.remember(outputs, lengths)
        state = self._begun(source.shape[0])
        if self.bridge is not None:
            mean = zero_padding(outputs, lengths).sum(1) / lengths[:, None]
            parts = torch.tanh(self.bridge(mean)).split([_width(part) for part in state], dim=1)
            state = tuple(part.view_as(old).to(old.dtype) for part, old in zip(parts, state, strict=True))
        fed = (embedded.new_zeros(source.shape[0], self.readout.out_features),) if self.feeds else ()
        return Decoding(memory, (*state, *fed))

    def decode(self, tokens: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor, Decoding]:
        """Read tokens of translations.

        Args:
            tokens: (rows, time) ids.
            decoding: Of as many rows.

        Returns:
            Features (rows, time, embedding_size) of what comes next, attention (rows, time, source_time), and where the
            decoder stands then.
        """
        embedded = self.input_dropout(self.target_embedding(tokens))
        if not self.feeds:
            return self._read(embedded, decoding)
        features, weights = [], []
        for one in embedded.split(1, dim=1):
            *state, fed = decoding.state
            said, looked, decoding = self._read(one, decoding._replace(state=tuple(state)), fed=fed[:, None])
            decoding = decoding._replace(state=(*decoding.state, said[:, -1]))
            features.append(said)
            weights.append(looked)
        return torch.cat(features, dim=1), torch.cat(weights, dim=1), decoding

    def _read(
        self, embedded: Tensor, decoding: Decoding, *, fed: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Decoding]:
        memory, state, hypotheses = decoding
        rows, time = embedded.shape[:2]
        count = len(self.first.state_names)
        inputs = embedded if fed is None else torch.cat([embedded, fed], dim=-1)
        outputs, first = self.first(inputs, state[:count])
        queries = outputs.reshape(memory.mask.shape[0], -1, outputs.shape[-1])  # (sentences, rows of each * time, size)
        contexts, weights = self.attention(queries, memory)
        contexts = contexts.reshape(rows, time, -1)
        above: State = ()
        if self.above is not None:
            outputs, above = self.above(self.dropout(torch.cat([outputs, contexts], dim=-1)), state[count:])
        said = torch.tanh(self.readout(torch.cat([self.dropout(outputs), contexts, embedded], dim=-1)))
        return said, weights.reshape(rows, time, -1), Decoding(memory, (*first, *above), hypotheses)

    def loss(self, features: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Add up the cross-entropy of all valid targets: (rows, time, embedding_size), (rows, time) -> scalar, nats."""
        return linear_cross_entropy(self.dropout(features), *self._output(), targets, label_smoothing=label_smoothing)

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Return what comes next: (..., embedding_size) -> (..., target_size) float32."""
        return log_softmax(linear(features, *self._output()).float(), dim=-1)

    def _output(self) -> tuple[Tensor, Tensor]:
        weight = self.target_embedding.weight if self.output_weight is None else self.output_weight
        return weight, self.output_bias

    def _begun(self, batch: int) -> State:
        above = () if self.above is None else self.above.initial_state(batch)
        return (*self.first.initial_state(batch), *above)


def _width(part: Tensor) -> int:
    return part[0].numel()


def _embedding(count: int, config: TranslationConfig) -> DroppedEmbedding:
    embedding = DroppedEmbedding(count, config.embedding_size, share=config.embedding_dropout)
    nn.init.normal_(embedding.weight, std=1 / math.sqrt(config.embedding_size))
    return embedding


def _attention(config: TranslationConfig, query_size: int, memory_size: int) -> Attention:
    kind = ATTENTIONS[config.attention]
    if kind is MultiHeadAttention:
        return MultiHeadAttention(query_size, memory_size, heads=config.heads)
    return kind(query_size, memory_size)
