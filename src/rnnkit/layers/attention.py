"""Attention: what a decoder reads of a whole sequence at each of its steps."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.sequences import valid_mask


class Memory(NamedTuple):
    """A sequence as attention looks at it: projected once, however many queries come.

    Attributes:
        keys: (batch, source_time, key_size).
        values: (batch, source_time, memory_size).
        mask: (batch, source_time) bool, which steps are there.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Return some rows, (rows,) int64."""
        return Memory(self.keys[rows], self.values[rows], self.mask[rows])


class Attention(nn.Module):
    """A weighted mean of a memory's steps, the weights a softmax of scores of query and key.

    Args:
        query_size: Features of a query.
        memory_size: Features of a step of the memory.

    Raises:
        ConfigError: If the sizes do not fit the kind.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.query_size, self.memory_size, self.output_size = query_size, memory_size, memory_size

    def remember(self, outputs: Tensor, lengths: Tensor | None = None) -> Memory:
        """Prepare a sequence to be looked at.

        Args:
            outputs: (batch, source_time, memory_size).
            lengths: (batch,) valid steps, at least one of each; None means all of them.

        Returns:
            The memory.

        Raises:
            ShapeError: If a sequence has no step.
        """
        batch, time = outputs.shape[:2]
        if lengths is None:
            mask = torch.ones(batch, time, dtype=torch.bool, device=outputs.device)
        else:
            mask = valid_mask(lengths.to(outputs.device), time)
        if not torch.compiler.is_compiling() and (not mask[:, :1].all() or not time):
            raise ShapeError(f"{type(self).__name__} got a sequence of no steps to look at; expected at least one")
        return Memory(self.keys(outputs), outputs, mask)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look at a memory.

        Args:
            queries: (batch, time, query_size), steps or hypotheses, each on its own.
            memory: As `remember` returns it.

        Returns:
            Contexts (batch, time, output_size), and the weights (batch, time, source_time), which sum to 1.
        """
        scores = self.scores(queries, memory.keys).masked_fill(~memory.mask[:, None], -math.inf)
        weights = scores.float().softmax(-1)  # (batch, time, source_time)
        return weights.to(memory.values.dtype) @ memory.values, weights

    def keys(self, outputs: Tensor) -> Tensor:
        """Turn a sequence into keys, as it is: (batch, source_time, memory_size) -> (batch, source_time, key_size)."""
        return outputs

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Score every step of the memory for every query, by their product: (batch, time, source_time)."""
        return queries @ keys.mT


class DotAttention(Attention):
    """score = q . m (Luong et al. 2015).

    Args:
        query_size: Features of a query; as many as of the memory.
        memory_size: Features of a step of the memory.

    Raises:
        ConfigError: If they differ.

    Example:
        >>> import torch
        >>> attention = DotAttention(2, 2)
        >>> memory = attention.remember(torch.tensor([[[40.0, 0.0], [0.0, 40.0]]]))
        >>> attention(torch.tensor([[[40.0, 0.0]]]), memory)[1].tolist()
        [[[1.0, 0.0]]]
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        if query_size != memory_size:
            raise ConfigError(
                f"DotAttention got query_size={query_size} and memory_size={memory_size}; expected one size: take "
                "general, additive or multi-head"
            )


class GeneralAttention(Attention):
    """score = q' W m (Luong et al. 2015).

    Args:
        query_size: Features of a query.
        memory_size: Features of a step of the memory.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.project = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, outputs: Tensor) -> Tensor:
        """Compute W m."""
        return self.project(outputs)


class AdditiveAttention(Attention):
    """score = v' tanh(W q + U m + b) (Bahdanau et al. 2015), W and U to the query's size.

    Args:
        query_size: Features of a query.
        memory_size: Features of a step of the memory.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(query_size, memory_size)
        self.of_query = nn.Linear(query_size, query_size, bias=False)
        self.of_memory = nn.Linear(memory_size, query_size)
        self.score = nn.Linear(query_size, 1, bias=False)

    def keys(self, outputs: Tensor) -> Tensor:
        """Compute U m + b."""
        return self.of_memory(outputs)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Add, squash and weigh."""
        return self.score(torch.tanh(self.of_query(queries)[:, :, None] + keys[:, None]))[..., 0]


class MultiHeadAttention(Attention):
    """Several scaled dot products side by side, each with values of its own (Vaswani et al. 2017).

    Args:
        query_size: Features of a query.
        memory_size: Features of a step of the memory.
        heads: How many; they divide the query's size.

    Raises:
        ConfigError: If they do not.
    """

    def __init__(self, query_size: int, memory_size: int, *, heads: int = 4) -> None:
        super().__init__(query_size, memory_size)
        if heads < 1 or query_size % heads:
            raise ConfigError(f"MultiHeadAttention got heads={heads}; expected a divisor of query_size, {query_size}")
        self.heads, self.output_size = heads, query_size
        self.of_query = nn.Linear(query_size, query_size, bias=False)
        self.of_memory = nn.Linear(memory_size, 2 * query_size, bias=False)
        self.output = nn.Linear(query_size, query_size, bias=False)

    def remember(self, outputs: Tensor, lengths: Tensor | None = None) -> Memory:
        """Prepare a sequence to be looked at; as `Attention.remember`, the values projected too."""
        memory = super().remember(outputs, lengths)
        keys, values = memory.keys.chunk(2, dim=-1)
        return Memory(keys, values, memory.mask)

    def keys(self, outputs: Tensor) -> Tensor:
        """Project to keys and values side by side."""
        return self.of_memory(outputs)

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look at a memory; as `Attention.forward`, the weights the mean of the heads'."""
        query, key, value = (self._split(part) for part in (self.of_query(queries), memory.keys, memory.values))
        scores = (query @ key.mT) / math.sqrt(query.shape[-1])  # (batch, heads, time, source_time)
        weights = scores.masked_fill(~memory.mask[:, None, None], -math.inf).float().softmax(-1)
        found = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)  # (batch, time, query_size)
        return self.output(found), weights.mean(1)

    def _split(self, part: Tensor) -> Tensor:
        """Give each head its features: (batch, time, size) -> (batch, heads, time, head_size)."""
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)


ATTENTIONS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "general": GeneralAttention,
    "multi-head": MultiHeadAttention,
}
