"""The dropouts that work for recurrence: one mask for all steps, or masks on the weights."""

import math

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError


def keep_mask(like: Tensor, shape: tuple[int, ...], share: float) -> Tensor:
    """Draw a dropout mask: 0 with probability `share`, else 1 / (1 - share).

    Args:
        like: Gives the type and device.
        shape: Of the mask.
        share: In [0, 1).

    Returns:
        A tensor of `shape` whose mean is 1.

    Raises:
        ConfigError: If `share` is out of range.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"dropout got share={share}; expected [0, 1)")
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - share).div_(1 - share)


def draw_events(like: Tensor, shape: tuple[int, ...], share: float) -> Tensor:
    """Draw 1 with probability `share`, to the nearest 1/65,536, else 0: in half the time of `bernoulli_`.

    Args:
        like: Gives the type and device.
        shape: Of the result.
        share: In [0, 1).

    Returns:
        A tensor of `shape`.
    """
    count = math.prod(shape)
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    numbers = words.view(torch.int16)[:count]  # each of 65,536 as likely
    return (numbers < min(round(share * 65_536) - 32_768, 32_767)).to(like.dtype).view(shape)


def locked_dropout(values: Tensor, share: float, *, training: bool) -> Tensor:
    """Drop the same features at every step (variational dropout, Gal and Ghahramani 2016).

    Args:
        values: (batch, time, size).
        share: In [0, 1).
        training: Whether to drop at all.

    Returns:
        (batch, time, size).
    """
    if not training or share == 0:
        return values
    return values * keep_mask(values, (values.shape[0], 1, values.shape[2]), share)


def drop_weights(weight: Tensor, share: float, *, training: bool) -> Tensor:
    """Drop entries of a weight matrix for one call (DropConnect; Merity et al. 2018). The parameter itself stays whole.

    Args:
        weight: Any shape.
        share: In [0, 1).
        training: Whether to drop at all.

    Returns:
        The weight to compute with.
    """
    if not training or share == 0:
        return weight
    return weight * keep_mask(weight, tuple(weight.shape), share)


def drop_symbols(vectors: Tensor, symbols: Tensor, count: int, share: float, *, training: bool) -> Tensor:
    """Drop whole symbols, each in all its places (Gal and Ghahramani 2016).

    Args:
        vectors: (batch, time, size) of embedded symbols.
        symbols: (batch, time), which they are.
        count: Size of the vocabulary.
        share: In [0, 1).
        training: Whether to drop at all.

    Returns:
        (batch, time, size).
    """
    if not training or share == 0:
        return vectors
    return vectors * keep_mask(vectors, (count, 1), share)[symbols]


class LockedDropout(nn.Module):
    """`locked_dropout` as a module.

    Args:
        share: In [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Drop in training: (batch, time, size) -> (batch, time, size)."""
        return locked_dropout(values, self.share, training=self.training)

    def extra_repr(self) -> str:
        """Return the share, for printing."""
        return f"{self.share}"


class DroppedEmbedding(nn.Embedding):
    """An embedding that in training drops whole symbols, each in all its places (Gal and Ghahramani 2016).

    Args:
        num_embeddings: Size of the vocabulary.
        embedding_dim: Size of a symbol's vector.
        share: In [0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, share: float = 0.0) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.share = share

    def forward(self, input: Tensor) -> Tensor:
        """Look symbols up: (batch, time) -> (batch, time, embedding_dim)."""
        return drop_symbols(super().forward(input), input, self.num_embeddings, self.share, training=self.training)
