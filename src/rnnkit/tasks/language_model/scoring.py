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
class Documents:
    """Some documents of a stream as padded rows: what is read, what is to be predicted, and where that stands."""

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
    state: State | None
    with torch.inference_mode():
        for rows in document_rows(stream):
            state = None
            for start in range(0, rows.inputs.shape[1], step := chunk_length(network, len(rows.inputs))):
                part = slice(start, start + step)
                logits, state = network(_tensor(rows.inputs[:, part], network), state)
                valid = rows.targets[:, part] != PADDING
                nats[rows.places[:, part][valid]] = _nats(logits, rows.targets[:, part])[valid]
    return nats


def chunk_length(network: LanguageNetwork, batch: int) -> int:
    """Return how many steps to take at once so that the logits stay within MOST_LOGITS."""
    return max(1, min(LONGEST_CHUNK, MOST_LOGITS // (batch * network.vocabulary_size)))


def document_rows(stream: TokenStream) -> Iterator[Documents]:
    """Give the documents ROWS at a time, those of like length together so that little is padded."""
    ends = np.append(stream.starts[1:], len(stream.tokens))
    order = np.argsort(stream.starts - ends, kind="stable")  # the longest first
    for first in range(0, len(order), ROWS):
        yield _documents(stream, order[first : first + ROWS], ends)


def _documents(stream: TokenStream, chosen: np.ndarray, ends: np.ndarray) -> Documents:
    last = len(ends) - 1
    counts = [int(ends[i] - stream.starts[i]) + (i < last) for i in chosen]  # a boundary follows all but the last
    inputs = np.full((len(chosen), max(counts)), DOCUMENT, dtype=np.int64)
    targets = np.full_like(inputs, PADDING)
    places = np.zeros_like(inputs)
    for row, (document, count) in enumerate(zip(chosen, counts, strict=True)):
        tokens = stream.tokens[stream.starts[document] : ends[document]]
        inputs[row, 1:count] = tokens[: count - 1]
        targets[row, : len(tokens)] = tokens
        targets[row, len(tokens) : count] = DOCUMENT
        places[row, :count] = stream.starts[document] + document + np.arange(count)
    return Documents(inputs, targets, places)


def _tensor(ids: np.ndarray, network: LanguageNetwork) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(ids)).to(network.output_bias.device)


def _nats(logits: Tensor, targets: np.ndarray) -> np.ndarray:
    flat = torch.from_numpy(np.ascontiguousarray(targets)).to(logits.device).flatten()
    losses = cross_entropy(logits.float().flatten(0, 1), flat, ignore_index=PADDING, reduction="none")
    return losses.view(targets.shape).double().cpu().numpy()
