"""The n-gram language model: exact counts, interpolated Witten-Bell smoothing, all in numpy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from zipfile import BadZipFile

import numpy as np

from rnnkit.errors import CheckpointError, ConfigError, DataError

DOCUMENT = 0  # the boundary's id in every vocabulary; as it is 0, a key of a short history needs no padding
LARGEST_KEY = 2**63 - 1
FIT_TOKENS = 10_000_000  # the process then holds 1.0 GB with text that repeats, 1.7 GB where no n-gram occurs twice
FIT_BLOCKS = 20
SCORE_TOKENS = 1_000_000  # scored at a time
DEFAULT_ORDERS = {"character": 7, "byte": 7, "bpe": 4, "unigram": 4, "word": 3}


class Tokens(Protocol):
    """What a token stream must have: ids, and where each document starts."""

    @property
    def tokens(self) -> np.ndarray: ...

    @property
    def starts(self) -> np.ndarray: ...


def default_order(kind: str) -> int:
    """Return the order that suits a vocabulary kind: 7 for characters and bytes, 4 for subwords, 3 for words.

    Raises:
        ConfigError: If the kind is unknown.
    """
    if kind not in DEFAULT_ORDERS:
        raise ConfigError(
            f"there is no n-gram order for vocabulary kind {kind!r}; expected one of: {', '.join(DEFAULT_ORDERS)}."
        )
    return DEFAULT_ORDERS[kind]


@dataclass(frozen=True)
class _Order:
    """The counts of one order k.

    A key packs ids as digits in base `vocabulary_size`: the last id of the n-gram is the lowest digit, so that the
    n-grams of one history lie side by side.
    """

    keys: np.ndarray  # (n-grams,) int64, ascending
    counts: np.ndarray  # (n-grams,) int32
    histories: np.ndarray  # (histories,) int64, ascending: each distinct key // vocabulary_size
    first: np.ndarray  # (histories + 1,) int32, where each history's n-grams start
    totals: np.ndarray  # (histories,) int32, the sum of its counts: c(h)

    @classmethod
    def from_grams(cls, grams: np.ndarray, *, vocabulary_size: int) -> Self:
        """Count n-grams, given as their keys, which are put in order."""
        grams.sort()
        first, total = _run_starts(grams), len(grams)
        keys = grams[first]
        del grams  # the largest array there is
        return cls.from_counts(keys, np.diff(first, append=total), vocabulary_size=vocabulary_size)

    @classmethod
    def from_counts(cls, keys: np.ndarray, counts: np.ndarray, *, vocabulary_size: int) -> Self:
        histories = keys // vocabulary_size
        first = _run_starts(histories)
        totals = np.add.reduceat(counts, first)
        return cls(keys, counts, histories[first], np.append(first, np.int32(len(keys))), totals)


class NGram:
    """An interpolated n-gram model with Witten-Bell smoothing (Witten & Bell 1991; Chen & Goodman 1998, section 2.4).

    p_k(w | h) = (c(h, w) + T(h) p_{k-1}(w | h')) / (c(h) + T(h))

    with c(h, w) the count of w after the last k-1 tokens h, T(h) the number of distinct tokens seen after h, h' the
    history without its oldest token, p_0 = 1 / vocabulary_size, and p_k = p_{k-1} after a history never seen. A
    history does not reach over a document's start: it is padded with DOCUMENT there. Between two documents DOCUMENT
    itself is predicted.

    Attributes:
        vocabulary_size: Ids, with the special ones.
        order: Longest n-gram; less than asked for if its keys would not fit in 63 bits.
        fitted_tokens: Tokens it was counted on.
        total_tokens: Tokens of the stream it was fitted to.
    """

    def __init__(
        self, orders: Sequence[_Order], *, vocabulary_size: int, fitted_tokens: int, total_tokens: int
    ) -> None:
        self.vocabulary_size = vocabulary_size
        self.order = len(orders)
        self.fitted_tokens = fitted_tokens
        self.total_tokens = total_tokens
        self._orders = tuple(orders)

    @classmethod
    def fit(cls, stream: Tokens, *, vocabulary_size: int, order: int) -> Self:
        """Count the n-grams of a stream, of at most FIT_TOKENS tokens in blocks spread evenly over it.

        Args:
            stream: At least one token; ids below `vocabulary_size`.
            vocabulary_size: 2 or more.
            order: The longest n-gram, 1 or more.

        Returns:
            The fitted model.

        Raises:
            ConfigError: If `order` or `vocabulary_size` is too small.
            DataError: If the stream is empty or holds an id outside the vocabulary.
        """
        if order < 1 or vocabulary_size < 2:
            raise ConfigError(
                f"n-gram order is {order} and vocabulary_size {vocabulary_size}; expected 1 and 2 or more."
            )
        if not len(stream.tokens):
            raise DataError("the n-gram model got a text of no tokens; expected at least one.")
        tokens, starts = _sample(stream, limit=FIT_TOKENS)
        targets, ages = _targets(tokens, starts)
        _check_range(targets, vocabulary_size=vocabulary_size)
        longest = _fitting(order, vocabulary_size)
        orders = [
            _Order.from_grams(history * vocabulary_size + targets, vocabulary_size=vocabulary_size)
            for history in _histories(targets, ages, vocabulary_size=vocabulary_size, order=longest)
        ]
        return cls(orders, vocabulary_size=vocabulary_size, fitted_tokens=len(tokens), total_tokens=len(stream.tokens))

    @property
    def note(self) -> str:
        """A sentence for a person: the order, and the share of the text when it was not the whole."""
        whole = self.fitted_tokens == self.total_tokens
        part = (
            f"{self.total_tokens:,} tokens"
            if whole
            else f"{self.fitted_tokens:,} of {self.total_tokens:,} tokens, spread evenly"
        )
        return f"{self.order}-gram, interpolated Witten-Bell, counted on {part}."

    def score(self, stream: Tokens) -> np.ndarray:
        """Return -ln p of every target of a stream given its history: each token, and DOCUMENT between documents.

        Args:
            stream: Ids below `vocabulary_size`.

        Returns:
            Nats in stream order, (tokens + documents - 1,) float64.

        Raises:
            DataError: If an id is outside the vocabulary.
        """
        return np.concatenate([np.empty(0), *self.score_blocks(stream)])

    def score_blocks(self, stream: Tokens) -> Iterator[np.ndarray]:
        """Do as `score`, about SCORE_TOKENS at a time: the memory that it takes does not grow with the stream.

        Args:
            stream: Ids below `vocabulary_size`.

        Yields:
            Nats in stream order, (targets,) float64 each.

        Raises:
            DataError: If an id is outside the vocabulary.
        """
        for first in range(0, len(stream.tokens), SCORE_TOKENS):
            begin = max(0, first - max(self.order - 1, 1))  # what is read again is the history of the first targets
            end = min(first + SCORE_TOKENS, len(stream.tokens))
            left, right = np.searchsorted(stream.starts, (begin, end), "left")
            left += int(left < right and stream.starts[left] == begin)  # the part begins with a document in any case
            inside = stream.starts[left:right]
            targets, ages = _targets(stream.tokens[begin:end], np.append(begin, inside) - begin)
            known = first - begin + np.searchsorted(inside, first, "left")
            yield self._score(targets, ages)[known:]

    def _score(self, targets: np.ndarray, ages: np.ndarray) -> np.ndarray:
        _check_range(targets, vocabulary_size=self.vocabulary_size)
        probabilities = np.full(len(targets), 1 / self.vocabulary_size)
        seen = np.arange(len(targets))  # targets whose history was seen; a longer history of the others was not either
        for counts, history in zip(
            self._orders, _histories(targets, ages, vocabulary_size=self.vocabulary_size, order=self.order), strict=True
        ):
            place, found = _find(counts.histories, history[seen])
            seen, place = seen[found], place[found]
            gram, known = _find(counts.keys, history[seen] * self.vocabulary_size + targets[seen])
            occurrences = np.where(known, counts.counts[gram], 0)
            distinct = counts.first[place + 1] - counts.first[place]
            probabilities[seen] = (occurrences + distinct * probabilities[seen]) / (counts.totals[place] + distinct)
        return -np.log(probabilities)

    def distribution(self, history: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the probability of every token after a history.

        Args:
            history: The ids since the document's start, oldest first; none at a document's start.

        Returns:
            (vocabulary_size,) float64, with sum 1.

        Raises:
            DataError: If an id is outside the vocabulary.
        """
        _check_range(np.asarray(history, dtype=np.int64), vocabulary_size=self.vocabulary_size)
        recent = [int(id) for id in reversed(history)][: self.order - 1]
        probabilities = np.full(self.vocabulary_size, 1 / self.vocabulary_size)
        key = 0
        for length, counts in enumerate(self._orders):
            if 0 < length <= len(recent):
                key += recent[length - 1] * self.vocabulary_size ** (length - 1)
            place, found = _find(counts.histories, np.array([key]))
            if not found[0]:
                break
            first, last = counts.first[place[0]], counts.first[place[0] + 1]
            probabilities *= last - first
            probabilities[counts.keys[first:last] % self.vocabulary_size] += counts.counts[first:last]
            probabilities /= counts.totals[place[0]] + last - first
        return probabilities

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that defines the model, as plain arrays."""
        sizes = np.array([self.vocabulary_size, self.fitted_tokens, self.total_tokens], dtype=np.int64)
        keys = {f"keys_{length}": counts.keys for length, counts in enumerate(self._orders, start=1)}
        counts = {f"counts_{length}": counts.counts for length, counts in enumerate(self._orders, start=1)}
        return {"sizes": sizes, **keys, **counts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a model from `arrays`.

        Returns:
            The model, with the same scores to the last bit.

        Raises:
            CheckpointError: If an array is missing.
        """
        try:
            vocabulary_size, fitted_tokens, total_tokens = (int(size) for size in arrays["sizes"])
            pairs = [
                (arrays[f"keys_{length}"], arrays[f"counts_{length}"]) for length in range(1, len(arrays) // 2 + 1)
            ]
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"the saved n-gram model lacks a part ({error}); fit it again.") from None
        orders = [_Order.from_counts(keys, counts, vocabulary_size=vocabulary_size) for keys, counts in pairs]
        return cls(orders, vocabulary_size=vocabulary_size, fitted_tokens=fitted_tokens, total_tokens=total_tokens)

    def save(self, path: str | Path) -> None:
        """Write the model as an .npz file, which holds no pickle."""
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The model, with the same scores to the last bit.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return cls.from_arrays({name: saved[name] for name in saved.files})
        except (OSError, ValueError, EOFError, AttributeError, KeyError, BadZipFile) as error:
            raise CheckpointError(f"{path}: the n-gram model cannot be read ({error}); fit it again.") from None


def _fitting(order: int, vocabulary_size: int) -> int:
    while vocabulary_size**order > LARGEST_KEY:
        order -= 1
    return max(order, 1)


def _check_range(ids: np.ndarray, *, vocabulary_size: int) -> None:
    if len(ids) and (ids.max() >= vocabulary_size or ids.min() < 0):
        wrong = int(ids.max()) if ids.max() >= vocabulary_size else int(ids.min())
        raise DataError(
            f"the n-gram model got token id {wrong}; expected 0 to {vocabulary_size - 1}: use its own vocabulary."
        )


def _sample(stream: Tokens, *, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and document starts of evenly spread blocks, `limit` tokens in all; each block is a document."""
    tokens = len(stream.tokens)
    if tokens <= limit:
        return np.asarray(stream.tokens), stream.starts
    length = limit // FIT_BLOCKS
    parts, starts = [], []
    for block in range(FIT_BLOCKS):
        first = block * (tokens - length) // (FIT_BLOCKS - 1)
        inside = stream.starts[(stream.starts > first) & (stream.starts < first + length)]
        parts.append(stream.tokens[first : first + length])
        starts.append(np.append(first, inside) - first + block * length)
    return np.concatenate(parts), np.concatenate(starts)


def _targets(tokens: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all targets, and how many tokens of its document precede each: both (tokens + documents - 1,) int32."""
    targets = np.insert(np.asarray(tokens).astype(np.int32), starts[1:], DOCUMENT)
    firsts = (starts + np.arange(len(starts))).astype(np.int32)  # each boundary before a document moves it by one
    ages = np.arange(len(targets), dtype=np.int32)
    ages -= np.repeat(firsts, np.diff(np.append(firsts, len(targets))))
    return targets, ages


def _histories(targets: np.ndarray, ages: np.ndarray, *, vocabulary_size: int, order: int) -> Iterator[np.ndarray]:
    """Yield the key of the last 0, 1, ... order - 1 tokens before each target, (targets,) int64, newest lowest.

    It is the same array each time.
    """
    keys = np.zeros(len(targets), dtype=np.int64)
    yield keys
    for back in range(1, order):
        older = np.zeros_like(keys)
        older[back:] = targets[:-back]
        older[ages < back] = DOCUMENT
        older *= vocabulary_size ** (back - 1)
        keys += older
        del older
        yield keys


def _run_starts(ordered: np.ndarray) -> np.ndarray:
    """Return where each run of equal keys starts, (runs,) int32."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])).astype(np.int32)


def _find(sorted_keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each wanted key is (or any valid place), and whether it is there."""
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return place, sorted_keys[place] == wanted
