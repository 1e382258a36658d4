"""Lay a token stream out in lanes, and read them in chunks for truncated back-propagation with carried state."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from rnnkit.data.documents import cut_blocks
from rnnkit.data.ragged import write_header
from rnnkit.data.tokens import DOCUMENT, Vocabulary
from rnnkit.errors import CheckpointError, ConfigError, DataError

PADDING = -1  # the target of a position that holds no token
BATCH_CHARACTERS = 2_000_000  # encoded at a time


@dataclass(frozen=True)
class TokenStream:
    """Documents end to end.

    Attributes:
        tokens: (tokens,) uint16, or int32 where the vocabulary needs it; may be memory-mapped.
        starts: (documents,) int64, where each document starts, ascending from 0; empty if there are no tokens.
    """

    tokens: np.ndarray
    starts: np.ndarray

    @property
    def targets(self) -> int:
        """How many predictions the stream asks for: every token, and the boundary between each two documents."""
        return len(self.tokens) + max(len(self.starts) - 1, 0)

    @classmethod
    def write(cls, folder: str | Path, parts: Iterable[tuple[np.ndarray, np.ndarray]], *, vocabulary_size: int) -> Self:
        """Write tokens.npy and starts.npy as the tokens come, so that they are never all in memory.

        Args:
            folder: Made if need be.
            parts: Tokens, and the places among them where a document starts, as `encode_documents` gives them.
            vocabulary_size: Of it depends how much room a token takes.

        Returns:
            The stream, memory-mapped.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        like = np.empty(0, dtype=np.uint16 if vocabulary_size <= 2**16 else np.int32)
        count, starts = 0, [np.empty(0, dtype=np.int64)]
        with (Path(folder) / "tokens.npy").open("wb") as file:
            write_header(file, like, count=0)
            for tokens, begins in parts:
                file.write(tokens.astype(like.dtype).data)
                starts.append(count + begins)
                count += len(tokens)
            file.seek(0)
            write_header(file, like, count=count)  # of the same length: numpy leaves room for the array to grow
        np.save(Path(folder) / "starts.npy", np.concatenate(starts))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | Path, *, mmap: bool = True) -> Self:
        """Read what `write` wrote; with `mmap` the tokens stay on disk until they are used.

        Returns:
            The stream, its tokens read-only when mapped.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        try:
            tokens = np.load(Path(folder) / "tokens.npy", mmap_mode="r" if mmap else None, allow_pickle=False)
            starts = np.load(Path(folder) / "starts.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(
                f"{folder}: the encoded text cannot be read ({error}); delete the folder to encode it again."
            ) from None
        return cls(tokens, starts)


def encode_documents(
    vocabulary: Vocabulary, documents: Iterable[Iterable[str]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Encode documents one after the other, about BATCH_CHARACTERS at a time.

    Args:
        vocabulary: Gives the tokens.
        documents: Each in blocks; how it is cut in blocks changes no token.

    Yields:
        (tokens,) int32, and (documents,) the places among them where a document starts; one without a token has none.
    """
    encode = vocabulary.encoder()
    last = -1  # the document of the last token
    for texts, numbers in _batches(vocabulary, documents):
        tokens, counts = encode(texts)
        places, filled = np.cumsum(counts) - counts, counts > 0
        owners = numbers[filled]
        yield tokens, places[filled][np.diff(owners, prepend=last) != 0]
        last = owners[-1] if len(owners) else last


def _batches(vocabulary: Vocabulary, documents: Iterable[Iterable[str]]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield texts that may be encoded one by one, and (texts,) the number of the document that each belongs to."""
    texts: list[str] = []
    numbers: list[int] = []
    characters = 0
    for number, blocks in enumerate(documents):
        for text in cut_blocks(blocks, vocabulary.safe_cut):
            texts.append(text)
            numbers.append(number)
            characters += len(text)
            if characters >= BATCH_CHARACTERS:
                yield texts, np.array(numbers)
                texts, numbers, characters = [], [], 0
    if texts:
        yield texts, np.array(numbers)


@dataclass(frozen=True)
class Chunk:
    """One batch of truncated back-propagation; row r continues row r of the chunk before.

    Attributes:
        inputs: (batch, time) int64, the token before each target; 0 where padded.
        targets: (batch, time) int64, -1 where padded (always at the end of a row).
        fresh: (batch,) bool, whether the row's state must be reset before this chunk.
    """

    inputs: np.ndarray
    targets: np.ndarray
    fresh: np.ndarray


class Lanes:
    """Endless chunks over a stream that is cut in `batch` lanes of equal length (within one token).

    A chunk gives every lane its next `time` targets, fewer at the end of a document, where the rest of the row is
    padded: state never crosses documents. The input of a target is the token before it, or DOCUMENT at a document's
    start; after a document's last token one more target is DOCUMENT, if another document follows in the stream. A
    lane that begins inside a document begins with fresh state and the true previous token. An epoch visits every token
    once, except that each epoch after the first skips 0 to time - 1 tokens at the start, so that the borders of the
    chunks (over which no gradient flows) move (Merity et al. 2018 vary the chunk length to the same end).

    Several processes share the lanes: each lays all of them out, gives its own, and keeps the same place.

    Args:
        stream: At least one token.
        batch: Lanes; reduced if the stream has fewer than 2 tokens for each.
        time: The most targets of a row in a chunk.
        seed: Of the skips and of the rows that begin anew.
        fresh_share: Share of the rows of a chunk that begin with fresh state at random, in [0, 1).
        part: Number of this process, from 0, and how many there are; each gives as many lanes, in order.

    Attributes:
        batch: Lanes in use, of all parts.
        epoch: Whole epochs finished: it grows with the epoch's last chunk.

    Raises:
        ConfigError: If `batch` or `time` is below 1, or the lanes cannot be shared evenly.
        DataError: If the stream is empty.

    Example:
        >>> stream = TokenStream(np.array([5, 6, 7, 8], dtype=np.int32), np.array([0]))
        >>> chunk = Lanes(stream, batch=2, time=2, seed=0).next_chunk()
        >>> chunk.inputs.tolist(), chunk.targets.tolist()
        ([[0, 5], [6, 7]], [[5, 6], [7, 8]])
    """

    _position: np.ndarray

    def __init__(
        self,
        stream: TokenStream,
        *,
        batch: int,
        time: int,
        seed: int,
        fresh_share: float = 0.0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if batch < 1 or time < 1:
            raise ConfigError(f"batch is {batch} and time {time}; expected 1 or more of both.")
        if not len(stream.tokens):
            raise DataError("the text encodes to no token; expected at least one to train on.")
        self.stream = stream
        self.batch = max(1, min(batch, len(stream.tokens) // 2))
        self.time, self.seed, self.fresh_share = time, seed, fresh_share
        number, parts = part
        if self.batch % parts:
            raise ConfigError(f"{self.batch} sequences side by side cannot be shared by {parts} processes evenly.")
        share = self.batch // parts
        self._own = slice(number * share, (number + 1) * share)
        self._chunks = 0
        self._document_ends = np.append(stream.starts, len(stream.tokens))  # [i]: the first end after i starts
        self._begin(0)

    @property
    def progress(self) -> float:
        """The share of this epoch's tokens already given out, in [0, 1)."""
        return float((self._position - self._lane_starts).sum() / (len(self.stream.tokens) - self._lane_starts[0]))

    @property
    def chunks_per_epoch(self) -> int:
        """How many chunks this epoch has; others differ by a few, as they skip other tokens."""
        starts = self.stream.starts
        first, end = int(self._lane_starts[0]), len(self.stream.tokens)
        inner = starts[(starts > first) & (starts < end)]
        borders = np.unique(np.concatenate([self._lane_starts, inner]))
        ends = np.append(borders[1:], end)
        targets = ends - borders + (np.isin(ends, starts) & (ends < end))
        chunks = -(-targets // self.time)
        return int(np.add.reduceat(chunks, np.searchsorted(borders, self._lane_starts)).max())

    def next_chunk(self) -> Chunk:
        """Return the next chunk, at most (batch / parts, time), running on into the next epoch for ever."""
        ends, boundary = self._segment_ends()
        counts = np.minimum(ends + boundary - self._position, self.time)  # (batch,)
        self._chunks += 1
        chunk = self._chunk(counts, ends=np.where(boundary, ends, -1))
        done = self._position + counts >= ends + boundary
        self._position = np.where(done, ends, self._position + counts)
        self._fresh = done
        if np.all(done & (ends == self._lane_ends)):
            self._begin(self.epoch + 1)
        return chunk

    def state_dict(self) -> dict[str, Any]:
        """Return where the lanes stand, JSON-able."""
        return {
            **self._identity(),
            "epoch": self.epoch,
            "chunks": self._chunks,
            "position": self._position.tolist(),
            "fresh": self._fresh.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was called.

        Raises:
            CheckpointError: If the state is from another stream, batch, time or seed.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"the saved place in the text has {name} {state.get(name)}, this run has {value}; "
                    "expected the same: start a new run."
                )
        self._begin(state["epoch"])
        self._chunks = state["chunks"]
        self._position = np.array(state["position"], dtype=np.int64)
        self._fresh = np.array(state["fresh"], dtype=bool)

    def _identity(self) -> dict[str, int]:
        return {"tokens": len(self.stream.tokens), "batch": self.batch, "time": self.time, "seed": self.seed}

    def _begin(self, epoch: int) -> None:
        """Set every lane to its start. A lane at its end with fresh state has no more to give in the epoch."""
        tokens = len(self.stream.tokens)
        most = min(self.time, tokens - 2 * self.batch + 1)
        skipped = int(np.random.default_rng((self.seed, epoch)).integers(0, max(most, 1))) if epoch else 0
        borders = skipped + (tokens - skipped) * np.arange(self.batch + 1, dtype=np.int64) // self.batch
        self.epoch = epoch
        self._lane_starts, self._lane_ends = borders[:-1], borders[1:]
        self._position = self._lane_starts.copy()  # (batch,) index of the next target in the stream
        self._fresh = np.ones(self.batch, dtype=bool)

    def _segment_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each lane's document (or the lane) ends, and if a boundary target follows: both (batch,)."""
        starts = self.stream.starts
        # A fresh lane at a start begins that document; one that is not fresh still owes the boundary before it.
        following = np.where(
            self._fresh,
            np.searchsorted(starts, self._position, "right"),
            np.searchsorted(starts, self._position, "left"),
        )
        tokens = len(self.stream.tokens)
        document_ends = self._document_ends[following]
        boundary = (document_ends <= self._lane_ends) & (document_ends < tokens)
        return np.minimum(document_ends, self._lane_ends), boundary

    def _chunk(self, counts: np.ndarray, *, ends: np.ndarray) -> Chunk:
        own = self._own
        width = max(1, int(counts[own].max()))  # this part's lanes may be at their ends before the others'
        index = self._position[own, None] + np.arange(width)  # (batch / parts, time)
        valid = np.arange(width) < counts[own, None]
        tokens = self.stream.tokens
        last = len(tokens) - 1
        following = np.where(index == ends[own, None], DOCUMENT, tokens[np.minimum(index, last)])
        targets = np.where(valid, following.astype(np.int64), PADDING)
        inputs = np.where(valid, tokens[np.clip(index - 1, 0, last)], DOCUMENT).astype(np.int64)
        inputs[(self._fresh & self._at_start())[own], 0] = DOCUMENT
        fresh = (self._fresh & (counts > 0)) | self._anew()
        return Chunk(inputs, targets, fresh[own])

    def _anew(self) -> np.ndarray:
        """Draw the rows that begin with fresh state though their text goes on: the same for every part and resume."""
        if not self.fresh_share:
            return np.zeros(self.batch, dtype=bool)
        return np.random.default_rng((self.seed, self._chunks, 1)).random(self.batch) < self.fresh_share

    def _at_start(self) -> np.ndarray:
        starts = self.stream.starts
        index = np.searchsorted(starts, self._position)
        return starts[np.minimum(index, len(starts) - 1)] == self._position
