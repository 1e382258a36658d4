"""A language model's text as tokens, with the sizes its metrics are normalised by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.batching import Chunk, Lanes, TokenStream, encode_documents
from rnnkit.data.readers import Document
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

    def save(self, folder: str | Path) -> None:
        """Write tokens.npy, starts.npy and size.json."""
        self.stream.save(folder)
        (Path(folder) / "size.json").write_text(json.dumps(asdict(self.size)))

    def sizes(self) -> dict[str, int]:
        """Count documents, tokens, characters, bytes and words, for a report."""
        unknown = {"unknown tokens": self.size.unknown} if self.size.unknown else {}
        text = {name: getattr(self.size, name) for name in ("characters", "bytes", "words")}
        return {"documents": self.size.documents, "tokens": len(self.stream.tokens), **text, **unknown}

    @classmethod
    def load(cls, folder: Path) -> TokenCorpus:
        """Read what `save` wrote; the tokens stay on disk until they are used.

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


def encode_corpus(vocabulary: Vocabulary, documents: tuple[Document, ...]) -> TokenCorpus:
    """Encode documents and measure their text.

    Args:
        vocabulary: Gives the tokens.
        documents: As read.

    Returns:
        Tokens and sizes.
    """
    texts = [document.text for document in documents]
    stream = encode_documents(vocabulary, texts)
    size = TextSize(
        documents=len(stream.starts),
        characters=sum(map(len, texts)),
        bytes=sum(len(text.encode("utf-8", "surrogatepass")) for text in texts),
        words=sum(len(text.split()) for text in texts),
        unknown=int(np.count_nonzero(stream.tokens == UNKNOWN)),
    )
    return TokenCorpus(stream, size)


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
    rows = torch.from_numpy(fresh).to(state[0].device)[:, None]
    return tuple(torch.where(rows, new, old) for new, old in zip(initial, state, strict=True))


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
