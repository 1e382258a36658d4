"""From scores of words to tags, with how sure each is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rnnkit.data.schemes import Span
from rnnkit.decoding.crf import Chain, Messages, best_paths
from rnnkit.decoding.fixed_lag import FixedLag


class Decoded(NamedTuple):
    """The tags of one sentence."""

    numbers: np.ndarray
    """(words,) tag numbers."""
    probabilities: np.ndarray
    """(words,) of each word's own tag."""


def decode_whole(chain: Chain, scores: Tensor, lengths: Tensor, found: Messages) -> list[Decoded]:
    """Take the best path of whole sentences.

    Args:
        chain: The scores of what is allowed.
        scores: (batch, time, tags).
        lengths: (batch,).
        found: Their messages.

    Returns:
        The tags of each.
    """
    labels = best_paths(chain, scores, lengths, count=1)[0][:, 0]
    sure = (found.forward * found.backward).gather(2, labels[..., None])[..., 0]
    rows = zip(labels.cpu().numpy(), sure.cpu().numpy(), lengths.tolist(), strict=True)
    return [Decoded(row[:length], part[:length]) for row, part, length in rows]


def decode_live(chain: Chain, scores: Tensor, lengths: Tensor, *, lag: int) -> list[Decoded]:
    """Make the tags of sentences final a few words after each, as a stream does.

    Args:
        chain: The scores of what is allowed.
        scores: (batch, time, tags).
        lengths: (batch,).
        lag: Words.

    Returns:
        The tags of each.
    """
    live, decoded = FixedLag(*chain.arrays(), lag=lag), []
    for row, length in zip(scores.float().cpu().numpy(), lengths.tolist(), strict=True):
        numbers, sure = zip(*live.decide(row[:length]), strict=True)
        decoded.append(Decoded(np.array(numbers), np.array(sure)))
    return decoded


def span_probability(chain: Chain, found: Messages, row: int, span: Span, path: Sequence[int]) -> float:
    """Return how probable it is that just these words have just these tags.

    Args:
        chain: The scores of what is allowed.
        found: Messages of a batch.
        row: The sentence.
        span: Its words.
        path: Their tag numbers.

    Returns:
        The sum over all paths of the sentence that go through `path`, in [0, 1].
    """
    forward, backward, onward = (part[row] for part in found[:3])
    first, last = span.first, span.end - 1
    if first == last:
        return float(forward[first, path[0]] * backward[first, path[0]])
    odds = chain.transitions.exp()
    joint = forward[first, path[0]]
    for place, (before, after) in enumerate(pairwise(path), start=first + 1):
        if place < last:
            joint = joint * odds[before, after] * onward[place, after] / backward[place, after].clamp_min(1e-300)
        else:
            joint = joint * odds[before, after] * onward[place, after]
    return float(joint)
