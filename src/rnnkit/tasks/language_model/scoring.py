"""Exact scoring: every token of every document given all tokens before it, whatever the chunking."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnnkit.data.batching import PADDING, TokenStream
from rnnkit.data.vocabulary import DOCUMENT
from rnnkit.kernels import State
from rnnkit.tasks.language_model.network import LanguageNetwork

ROWS = 16  # documents scored side by side
MOST_LOGITS = 4_000_000  # of one chunk: bounds the memory with any vocabulary
LONGEST_CHUNK = 2048


@dataclass(frozen=True)
class Segment:
    """The same steps of some documents as padded rows: what is read, what is to be predicted, where that stands."""

    inputs: np.ndarray
    """(documents, time) ids."""
    targets: np.ndarray
    """(documents, time) ids; PADDING past the end."""
    places: np.ndarray
    """(documents, time) index of each target among all targets of the stream."""


def score_tokens(network: LanguageNetwork, stream: TokenStream) -> np.ndarray:
    """Score every target of a stream: its tokens, and the boundary between each two documents.

    Args:
        network: In eval mode.
        stream: The documents.

    Returns:
        (targets,) float64, nats.
    """
    nats = np.zeros(stream.targets)
    with torch.inference_mode():
        for documents in groups(stream):
            state: State | None = None
            for segment in segments(stream, documents, time=chunk_length(network, len(documents))):
                logits, state = network(_tensor(segment.inputs, network), state)
                valid = segment.targets != PADDING
                nats[segment.places[valid]] = _nats(logits, segment.targets)[valid]
    return nats


def chunk_length(network: LanguageNetwork, batch: int) -> int:
    """Return how many steps to take at once so that the logits stay within MOST_LOGITS."""
    return max(1, min(LONGEST_CHUNK, MOST_LOGITS // (batch * network.vocabulary_size)))


def groups(stream: TokenStream) -> Iterator[np.ndarray]:
    """Give the numbers of the documents, ROWS at a time, those of like length together so that little is padded."""
    lengths = np.diff(np.append(stream.starts, len(stream.tokens)))
    order = np.argsort(-lengths, kind="stable")  # the longest first
    for first in range(0, len(order), ROWS):
        yield order[first : first + ROWS]


def segments(stream: TokenStream, documents: np.ndarray, *, time: int) -> Iterator[Segment]:
    """Cut some documents into segments of at most `time` steps; each document begins with DOCUMENT as its input."""
    starts = stream.starts[documents]
    lengths = np.append(stream.starts, len(stream.tokens))[documents + 1] - starts
    counts = lengths + (documents + 1 < len(stream.starts))  # a boundary follows all but the last
    last = len(stream.tokens) - 1
    for first in range(0, int(counts.max()), time):
        steps = np.arange(first, min(first + time, int(counts.max())))
        index = starts[:, None] + steps  # (documents, time)
        following = np.where(steps < lengths[:, None], stream.tokens[np.minimum(index, last)], DOCUMENT)
        yield Segment(
            inputs=np.where(steps > 0, stream.tokens[np.clip(index - 1, 0, last)], DOCUMENT).astype(np.int64),
            targets=np.where(steps < counts[:, None], following.astype(np.int64), PADDING),
            places=index + documents[:, None],  # each boundary before a document moves it by one
        )


def _tensor(ids: np.ndarray, network: LanguageNetwork) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(ids)).to(network.device)


def _nats(logits: Tensor, targets: np.ndarray) -> np.ndarray:
    flat = torch.from_numpy(np.ascontiguousarray(targets)).to(logits.device).flatten()
    losses = cross_entropy(logits.float().flatten(0, 1), flat, ignore_index=PADDING, reduction="none")
    return losses.view(targets.shape).double().cpu().numpy()
