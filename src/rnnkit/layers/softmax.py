"""The softmax over a vocabulary: in chunks that bound its memory, or adaptive, with rare symbols in small clusters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, log_softmax

from rnnkit.errors import ConfigError
from rnnkit.layers.dropout import drop_symbols

IGNORED = -1  # the target of a position that is not predicted
MOST_LOGITS = 2**24  # held at once in training: 64 MiB of float32
SHRINKING = 4  # a cluster's vectors are this much smaller than those of the more frequent cluster before it


def linear_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Add up the cross-entropy of softmax(features weight^T + bias), without ever holding all logits.

    The gradient is made chunk by chunk on the way forward, while a chunk's probabilities are there: three products in
    all, as with all logits in memory, and none is done twice. It cannot be differentiated a second time.

    Args:
        features: (..., size).
        weight: (vocabulary_size, size).
        bias: (vocabulary_size,).
        targets: (...), ids; IGNORED where there is none.
        label_smoothing: Share in [0, 1) of the probability spread over the vocabulary (Szegedy et al. 2016).

    Returns:
        Scalar, nats.
    """
    features, targets = features.flatten(0, -2), targets.flatten()
    valid = targets != IGNORED
    if not valid.all():
        features, targets = features[valid], targets[valid]
    return _LinearCrossEntropy.apply(features, weight, bias, targets, label_smoothing)


class _LinearCrossEntropy(torch.autograd.Function):
    """Features (rows, size), all of them valid, to a sum of losses."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd hands arguments over by position
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, label_smoothing: float
    ) -> Tensor:
        kind = features.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
        with torch.autocast(kind, enabled=False):
            operands = features.to(dtype), weight.to(dtype), bias.to(dtype), targets
            total, gradients = _sum_chunks(*operands, label_smoothing, differentiate=any(ctx.needs_input_grad))
        ctx.save_for_backward(*(g.to(like.dtype) for g, like in zip(gradients, (features, weight, bias), strict=False)))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> Any:  # type: ignore[override]
        return (*(gradient * scale.to(gradient.dtype) for gradient in ctx.saved_tensors), None, None)


def _sum_chunks(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float, *, differentiate: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    wide = torch.promote_types(features.dtype, torch.float32)
    total = torch.zeros((), dtype=wide, device=features.device)
    d_features = torch.empty_like(features)
    d_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
    d_bias = torch.zeros(bias.shape, dtype=wide, device=bias.device)
    rows = max(1, MOST_LOGITS // len(weight))
    for start in range(0, len(features), rows):
        part, wanted = features[start : start + rows], targets[start : start + rows, None]
        logs = log_softmax(linear(part, weight, bias).to(wide), -1)  # (rows, vocabulary_size)
        total -= (1 - smoothing) * logs.gather(1, wanted).sum()
        if smoothing:
            total -= smoothing * logs.mean(-1).sum()
        if differentiate:
            surplus = logs.exp_().sub_(smoothing / len(weight)) if smoothing else logs.exp_()
            surplus.scatter_add_(1, wanted, surplus.new_full(wanted.shape, smoothing - 1))
            d_bias += surplus.sum(0)
            surplus = surplus.to(features.dtype)
            torch.mm(surplus, weight, out=d_features[start : start + rows])
            d_weight += surplus.t() @ part
    return total, (d_features, d_weight, d_bias) if differentiate else ()


def default_cutoffs(vocabulary_size: int) -> tuple[int, ...]:
    """Return where the clusters of an adaptive softmax begin: a tenth of the symbols, then up to a third, the rest.

    By Zipf's law the first tenth of 33,000 words holds four fifths of a text, the last two thirds a fifteenth.
    """
    return tuple(sorted({max(1, vocabulary_size // 10), max(2, vocabulary_size // 3)}))


class AdaptiveEmbedding(nn.Module):
    """Vectors whose size falls with the frequency of a symbol (Baevski and Auli 2019); ids ascend as frequency falls.

    A symbol of cluster i has a vector of embedding_dim / 4^i numbers, projected up to embedding_dim.

    Args:
        num_embeddings: Size of the vocabulary.
        embedding_dim: Size of a symbol's vector as it comes out.
        cutoffs: The first id of each cluster after the first, ascending.
        share: Of the vocabulary dropped in training, each symbol in all its places, in [0, 1).

    Raises:
        ConfigError: If the cutoffs do not ascend within the vocabulary.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, cutoffs: Sequence[int], share: float = 0.0) -> None:
        super().__init__()
        borders = [0, *cutoffs, num_embeddings]
        if any(high <= low for low, high in itertools.pairwise(borders)):
            raise ConfigError(
                f"AdaptiveEmbedding got cutoffs {tuple(cutoffs)}; expected them to ascend in the vocabulary"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.borders, self.share = borders, share
        sizes = [max(1, embedding_dim // SHRINKING**cluster) for cluster in range(len(borders) - 1)]
        self.tables = nn.ParameterList(
            torch.empty(high - low, size) for (low, high), size in zip(itertools.pairwise(borders), sizes, strict=True)
        )
        self.projections = nn.ParameterList(torch.empty(size, embedding_dim) for size in sizes[1:])
        for table in self.tables:
            nn.init.normal_(table, std=1 / math.sqrt(table.shape[1]))
        for projection in self.projections:
            nn.init.orthogonal_(projection)  # keeps a vector's length

    def forward(self, input: Tensor) -> Tensor:
        """Look symbols up: (batch, time) -> (batch, time, embedding_dim)."""
        flat = input.flatten()
        vectors = self.tables[0][flat.clamp(max=self.borders[1] - 1)]  # (symbols, embedding_dim)
        for table, projection, low, high in zip(
            self.tables[1:], self.projections, self.borders[1:], self.borders[2:], strict=False
        ):
            rows = ((flat >= low) & (flat < high)).nonzero()[:, 0]
            vectors = vectors.index_copy(0, rows, (table[flat[rows] - low] @ projection).to(vectors.dtype))
        vectors = vectors.view(*input.shape, self.embedding_dim)
        return drop_symbols(vectors, input, self.num_embeddings, self.share, training=self.training)


class AdaptiveSoftmax(nn.Module):
    """A softmax in two steps: a frequent symbol or a cluster, then the symbol in its cluster (Grave et al. 2017).

    log p(w) = log softmax(head)[w] in the first cluster, else log softmax(head)[cluster] + log softmax(cluster)[w].
    The symbols' vectors are those of an embedding, which is handed in (Press and Wolf 2017; Baevski and Auli 2019).

    Args:
        embedding: Whose vectors to use; its parameters stay its own.
    """

    def __init__(self, embedding: AdaptiveEmbedding) -> None:
        super().__init__()
        self.borders = embedding.borders
        clusters = len(self.borders) - 2
        self.clusters = nn.Parameter(torch.zeros(clusters, embedding.embedding_dim))
        self.cluster_bias = nn.Parameter(torch.zeros(clusters))
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))

    def loss(
        self, features: Tensor, targets: Tensor, embedding: AdaptiveEmbedding, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Add up the cross-entropy of all valid targets; smoothing spreads within the head and within each cluster.

        Args:
            features: (..., embedding_dim).
            targets: (...), ids; IGNORED where there is none.
            embedding: The symbols' vectors.
            label_smoothing: Share in [0, 1).

        Returns:
            Scalar, nats.
        """
        features, targets = features.flatten(0, -2), targets.flatten()
        first = self.borders[1]
        heads = targets.clone()
        total = features.new_zeros(())
        for cluster, (low, high) in enumerate(itertools.pairwise(self.borders[1:])):
            rows = ((targets >= low) & (targets < high)).nonzero()[:, 0]
            heads[rows] = first + cluster
            weight, bias, inner = self._cluster(features[rows], embedding, cluster)
            total = total + linear_cross_entropy(
                inner, weight, bias, targets[rows] - low, label_smoothing=label_smoothing
            )
        return total + linear_cross_entropy(features, *self._head(embedding), heads, label_smoothing=label_smoothing)

    def forward(self, features: Tensor, embedding: AdaptiveEmbedding) -> Tensor:
        """Return the log-probability of every symbol.

        Args:
            features: (batch, time, embedding_dim).
            embedding: The symbols' vectors.

        Returns:
            (batch, time, vocabulary_size), float32 or wider; they are logits too.
        """
        wide = torch.promote_types(features.dtype, torch.float32)
        first = self.borders[1]
        head = log_softmax(linear(features, *self._head(embedding)).to(wide), -1)
        parts = [head[..., :first]]
        for cluster in range(len(self.borders) - 2):
            weight, bias, inner = self._cluster(features, embedding, cluster)
            inside = log_softmax(linear(inner, weight, bias).to(wide), -1)
            parts.append(head[..., first + cluster, None] + inside)
        return torch.cat(parts, -1)

    def _head(self, embedding: AdaptiveEmbedding) -> tuple[Tensor, Tensor]:
        weight = torch.cat([embedding.tables[0], self.clusters])  # (first + clusters, embedding_dim)
        return weight, torch.cat([self.bias[: self.borders[1]], self.cluster_bias])

    def _cluster(self, features: Tensor, embedding: AdaptiveEmbedding, cluster: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a cluster's weight and bias, and the features in its size."""
        low, high = self.borders[cluster + 1], self.borders[cluster + 2]
        inner = linear(features, embedding.projections[cluster])
        return embedding.tables[cluster + 1], self.bias[low:high], inner
