"""A language model's text as tokens, with the sizes its metrics are normalised by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.batching import Chunk, Lanes, TokenStream, encode_documents
from rnnkit.data.readers import Document
from rnnkit.data.scratch import scratch_folder
from rnnkit.data.vocabulary import DOCUMENT, UNKNOWN, Vocabulary
from rnnkit.errors import CheckpointError
from rnnkit.kernels import State


@dataclass(frozen=True)
class TextSize:
    """What a text's surprise is divided by."""

    documents: int
    characters: int
    bytes: int
    words: int
    """Between white space."""
    unknown: int
    """Tokens that are not in the vocabulary."""


@dataclass(frozen=True)
class TokenCorpus:
    """Encoded documents and the size of their text."""

    stream: TokenStream
    size: TextSize

    def sizes(self) -> dict[str, int]:
        """Count documents, tokens, characters, bytes and words, for a report."""
        unknown = {"unknown tokens": self.size.unknown} if self.size.unknown else {}
        text = {name: getattr(self.size, name) for name in ("characters", "bytes", "words")}
        return {"documents": self.size.documents, "tokens": len(self.stream.tokens), **text, **unknown}

    @classmethod
    def load(cls, folder: Path) -> TokenCorpus:
        """Read what `encode_corpus` wrote; the tokens stay on disk until they are used.

        Returns:
            The corpus.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        stream = TokenStream.load(folder)
        try:
            return cls(stream, TextSize(**json.loads((folder / "size.json").read_text())))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{folder / 'size.json'} cannot be read ({error}); start a new run") from error


def encode_corpus(vocabulary: Vocabulary, documents: Iterable[Document], folder: Path | None = None) -> TokenCorpus:
    """Encode documents and measure their text, a block at a time.

    Args:
        vocabulary: Gives the tokens.
        documents: As read.
        folder: Gets tokens.npy, starts.npy and size.json; None keeps them in a temporary file while they are used.

    Returns:
        Tokens, which stay on disk until they are used, and sizes.

    Raises:
        RunError: If there is no room for the temporary file.
    """
    if folder is None:
        with scratch_folder() as aside:
            return encode_corpus(vocabulary, documents, aside)
    found: Counter[str] = Counter()
    parts = encode_documents(vocabulary, (_measured(document.blocks(), found) for document in documents))
    stream = TokenStream.write(folder, _unknown_counted(parts, found), vocabulary_size=vocabulary.size)
    size = TextSize(
        documents=len(stream.starts),
        characters=found["characters"],
        bytes=found["bytes"],
        words=found["words"],
        unknown=found["unknown"],
    )
    (folder / "size.json").write_text(json.dumps(asdict(size)))
    return TokenCorpus(stream, size)


def _measured(blocks: Iterable[str], found: Counter[str]) -> Iterator[str]:
    """Pass on a document's text and add up its size: blocks end where words do."""
    for block in blocks:
        size = len(block) if block.isascii() else len(block.encode("utf-8", "surrogatepass"))
        found.update(characters=len(block), bytes=size, words=len(block.split()))
        yield block


def _unknown_counted(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], found: Counter[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pass on tokens and count the unknown ones."""
    for tokens, starts in parts:
        found.update(unknown=int(np.count_nonzero(tokens == UNKNOWN)))
        yield tokens, starts


def reset_fresh(state: State, initial: State, fresh: np.ndarray) -> State:
    """Give the rows that begin anew the initial state.

    Args:
        state: (batch, size) each.
        initial: The same shapes.
        fresh: (batch,) bool.

    Returns:
        (batch, size) each.
    """
    if not fresh.any():
        return state
    rows = torch.from_numpy(fresh)[:, None]
    return tuple(torch.where(rows.to(old.device), new, old) for new, old in zip(initial, state, strict=True))


def chunk_tensors(chunk: Chunk, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, (batch, time) int64 each.

    A row that begins with a fresh state reads DOCUMENT first, in the middle of a document too: where the text is one
    long document the model would otherwise meet the symbol that begins every prompt only once an epoch.
    """
    inputs = torch.from_numpy(chunk.inputs)
    inputs[torch.from_numpy(chunk.fresh), 0] = DOCUMENT
    return inputs.to(device), torch.from_numpy(chunk.targets).to(device)


def first_tokens(stream: TokenStream, count: int) -> TokenStream:
    """Return the beginning of a stream."""
    return TokenStream(stream.tokens[:count], stream.starts[stream.starts < count])


def first_lanes(stream: TokenStream, *, tokens: int, batch: int, time: int) -> Iterator[Chunk]:
    """Lay the first `tokens` tokens of a stream out in lanes, once."""
    lanes = Lanes(first_tokens(stream, tokens), batch=batch, time=time, seed=0)
    while lanes.epoch == 0:
        yield lanes.next_chunk()
