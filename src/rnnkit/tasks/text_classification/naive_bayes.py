"""What each word and each pair of words says of the labels by counting, added to what the network says."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged
from rnnkit.data.tokens import DOCUMENT, UNKNOWN
from rnnkit.kernels import State
from rnnkit.sequences import valid_mask
from rnnkit.tasks.classification import DirectScores

SMOOTHING = 1.0  # added to every count
MOST_PAIRS = 200_000
LEAST_PAIR = 2  # a pair that occurs once says nothing of texts it is not in


class NaiveBayes(DirectScores):
    """Naive Bayes over tokens and pairs of them, on a scale that validation data chooses (after Wang and Manning 2012).

    A text's score of a label is the sum over its tokens and pairs of log p(token | label), less its mean over the
    labels, or less log p(token | other texts) where a text may have several; divided by the square root of how many
    tokens there are. It knows the training texts by heart, so training does without it: its scale is 0 until then.

    Args:
        pairs: (pairs,) int64 first * tokens + second, in order.
        weights: (tokens + pairs, labels) what each says of the labels.
    """

    pairs: Tensor
    weights: Tensor
    file_name = "naive-bayes.npz"
    kept = ("pairs", "weights")
    state_names = ("sums", "numbers", "last")

    def __init__(self, pairs: np.ndarray, weights: np.ndarray) -> None:
        super().__init__()
        self.num_tokens = len(weights) - len(pairs)
        self.register_buffer("pairs", torch.from_numpy(pairs), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)), persistent=False)

    @classmethod
    def count(cls, texts: Ragged, targets: np.ndarray, *, num_tokens: int, num_labels: int) -> Self:
        """Count the tokens and pairs of training texts.

        Args:
            texts: Tokens of each.
            targets: (texts,) label numbers, or (texts, labels) bool.
            num_tokens: Size of the vocabulary.
            num_labels: How many labels.

        Returns:
            What they say, on a scale of 0.
        """
        owners = np.repeat(np.arange(len(texts)), texts.lengths)
        tokens = np.asarray(texts.values, dtype=np.int64)
        joined = (owners[1:] == owners[:-1]) & _tells(tokens[1:]) & _tells(tokens[:-1])
        keys = tokens[:-1][joined] * num_tokens + tokens[1:][joined]
        found, often = np.unique(keys, return_counts=True)
        kept = np.argsort(-often, kind="stable")[:MOST_PAIRS]
        pairs = np.sort(found[kept[often[kept] >= LEAST_PAIR]])
        places = np.searchsorted(pairs, keys)
        known = places < len(pairs)
        known[known] = pairs[places[known]] == keys[known]
        counts = np.zeros((num_tokens + len(pairs), num_labels + 1), dtype=np.float32)
        rows = np.concatenate([tokens[_tells(tokens)], num_tokens + places[known]])
        texts_of = np.concatenate([owners[_tells(tokens)], owners[1:][joined][known]])
        np.add.at(counts[:, -1], rows, 1)  # of all texts
        if targets.ndim == 1:
            np.add.at(counts, (rows, targets[texts_of]), 1)
        for label in range(num_labels if targets.ndim == 2 else 0):
            np.add.at(counts[:, label], rows[targets[texts_of, label]], 1)
        parts = (_weights(part, multi_label=targets.ndim == 2) for part in np.split(counts, [num_tokens]))
        return cls(pairs, np.concatenate(list(parts)))

    def initial_state(self, batch: int) -> State:
        """Return the state before a text: sums (batch, labels), the number of tokens, the token read last."""
        sums = self.gain.new_zeros(batch, self.weights.shape[1])
        return sums, self.gain.new_zeros(batch, 1), self.gain.new_full((batch, 1), DOCUMENT)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Score whole texts.

        Args:
            inputs: (batch, time) tokens.
            lengths: (batch,).

        Returns:
            (batch, labels).
        """
        tokens = inputs.masked_fill(~valid_mask(lengths, inputs.shape[1]), DOCUMENT)
        said, numbers = self._said(tokens, tokens.new_full((tokens.shape[0], 1), DOCUMENT))
        return self.gain * said.sum(1) / numbers.sum(1).clamp_min(1).sqrt()

    def running(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Score every beginning of texts, going on from `state`.

        Args:
            inputs: (batch, time) tokens, all of them valid.
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, time, labels), and the state after the last token.
        """
        sums, numbers, last = state
        said, counted = self._said(inputs, last.to(inputs.dtype))
        if not inputs.shape[1]:
            return said, state
        total, count = sums[:, None] + said.cumsum(1), numbers[:, None] + counted.cumsum(1)
        scores = self.gain * total / count.clamp_min(1).sqrt()
        return scores, (total[:, -1], count[:, -1], inputs[:, -1:].to(last.dtype))

    def _said(self, inputs: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each token and the pair it ends say, (batch, time, labels), and which count, (batch, time, 1)."""
        before = torch.cat([last, inputs[:, :-1]], dim=1)
        tells = inputs > UNKNOWN
        said = torch.where(tells[..., None], self.weights[inputs], 0.0)
        if len(self.pairs):
            keys = before * self.num_tokens + inputs
            places = torch.searchsorted(self.pairs, keys).clamp_max(len(self.pairs) - 1)
            known = tells & (before > UNKNOWN) & (self.pairs[places] == keys)
            said = said + torch.where(known[..., None], self.weights[self.num_tokens + places], 0.0)
        return said, tells[..., None].to(said.dtype)


def _tells(tokens: np.ndarray) -> np.ndarray:
    return tokens > UNKNOWN


def _weights(counts: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Turn counts of labels, and of all texts in the last column, into what each row says of the labels."""
    of_labels, of_all = counts[:, :-1], counts[:, -1:]
    said = _logarithms(of_labels)
    return said - (_logarithms(of_all - of_labels) if multi_label else said.mean(1, keepdims=True))


def _logarithms(counts: np.ndarray) -> np.ndarray:
    return np.log(counts + SMOOTHING) - np.log(counts.sum(0) + SMOOTHING * max(len(counts), 1))
