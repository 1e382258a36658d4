"""What a text repeats of the training text, token for token: found by hashes in one pass, every hit compared.

The hash of a window is that of Karp and Rabin (1987) over integers modulo 2**64, whose overflow is free. From the
running sums of a block, one product gives the hash of a window of any length: one pass over the text filters the
places where a short window fits, and all longer ones are looked for at those places alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.data.batching import TokenStream
from rnnkit.data.vocabulary import UNKNOWN
from rnnkit.errors import ConfigError

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel

PASSAGE_TOKENS = {"character": 50, "byte": 50, "bpe": 12, "unigram": 12, "word": 9}  # about 50 characters of English
BLOCK_TOKENS = 1 << 20  # of the training text at a time: some 100 MB
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
TABLE_BITS = 20  # the first bits of a hash, by which most places are ruled out
NOWHERE = -1  # stands for an unknown token, which equals no other
KEPT_LENGTHS = 8


@dataclass(frozen=True)
class Overlap:
    """What a text has in common with the training text."""

    tokens: int
    """Length of the longest passage that stands in the training text, token for token, within one document."""
    characters: int
    """Its length in characters."""
    passage: str
    share: float
    """Share of the text's tokens, in [0, 1], that lie in such passages of at least `minimum` tokens."""
    minimum: int


def training_tokens(path: str | Path) -> TokenStream:
    """Open the training text that a run keeps.

    Args:
        path: A run folder, or the model folder in it.

    Returns:
        The tokens, which stay on disk until they are used.

    Raises:
        ConfigError: If the folder has no training text: a model that was moved away from its run.
    """
    run = Path(path)
    folders = [run / "tokens" / "train", run.resolve().parent / "tokens" / "train"]
    found = next((folder for folder in folders if (folder / "tokens.npy").is_file()), None)
    if found is None:
        raise ConfigError(
            f"{path} has no training text to compare with: {folders[0]} is missing; "
            "name the run folder that the model was trained in"
        )
    return TokenStream.load(found)


def training_overlap(model: LanguageModel, text: str, training: TokenStream, *, minimum: int | None = None) -> Overlap:
    """Find what a text repeats of the training text.

    Args:
        model: Gives the tokens.
        text: What the model has written, say.
        training: Encoded with the same vocabulary.
        minimum: The shortest passage, in tokens, that counts as repeated in the share; None is about 50 characters.

    Returns:
        The longest passage, and the share of the text that lies in passages that are long enough.

    Raises:
        ConfigError: If `minimum` is below 1.

    Example:
        >>> from rnnkit.data.readers import Corpus, Document
        >>> from rnnkit.tasks.language_model import LanguageModel, LanguageModelConfig
        >>> corpus = Corpus((Document("the cat sat on the mat", "made up"),), ())
        >>> model = LanguageModel.prepare(corpus, LanguageModelConfig(hidden_size=8))
        >>> found = training_overlap(model, "a hat sat on a chat", model.encode(corpus).stream, minimum=5)
        >>> found.passage, found.tokens, round(found.share, 2)
        ('at sat on ', 10, 0.53)
    """
    least = PASSAGE_TOKENS[model.config.vocabulary] if minimum is None else minimum
    if least < 1:
        raise ConfigError(f"the shortest passage that counts is {least} tokens; expected at least 1")
    tokens = model.vocabulary.encode(text)
    start, length, covered = find_copies(tokens, training, minimum=least)
    passage = model.vocabulary.decode(tokens[start : start + length])
    share = float(covered.mean()) if len(tokens) else 0.0
    return Overlap(length, len(passage), passage, share, least)


def find_copies(tokens: np.ndarray, training: TokenStream, *, minimum: int) -> tuple[int, int, np.ndarray]:
    """Compare tokens with a stream, of which each document stands alone.

    Args:
        tokens: (tokens,) ids; UNKNOWN equals nothing.
        training: Any number of documents.
        minimum: Shortest copy that covers, 1 or more.

    Returns:
        Where the longest copy starts in `tokens` and how long it is (0, 0 if there is none), and (tokens,) bool, which
        of them lie in a copy of at least `minimum` tokens.
    """
    search = _Search(np.where(tokens == UNKNOWN, NOWHERE, tokens).astype(np.int64), training, minimum)
    for first in range(0, len(training.tokens), BLOCK_TOKENS):
        if search.longest == len(tokens):
            search.copied[:] = True
            break
        search.scan(first)
    return search.start, search.longest, search.covered()


class _Search:
    """Goes through the training text once, keeping the longest copy so far and which windows have one.

    Attributes:
        longest: Length of the longest copy.
        start: Where it starts in the text.
        copied: For each distinct window of `minimum` tokens, whether it has a copy.
    """

    def __init__(self, text: np.ndarray, training: TokenStream, minimum: int) -> None:
        self.text, self.training, self.minimum = text, training, minimum
        self.ends = np.append(training.starts[1:], len(training.tokens))
        self.powers = _Powers(min(BLOCK_TOKENS, len(training.tokens)) + len(text))
        self.names = _Names(text)
        self.hashes = _Hashes(text, self.powers)
        self.start = self.longest = 0
        self.windows: dict[int, _Windows] = {}
        self.copied = np.zeros(len(self._windows(minimum).starts), dtype=bool)

    def covered(self) -> np.ndarray:
        """Return (text,) bool, which tokens lie in a window of `minimum` tokens that has a copy."""
        edges = np.zeros(len(self.text) + 1, dtype=np.int64)
        starts = np.flatnonzero(self.copied[self._windows(self.minimum).of])
        edges[starts] += 1
        np.subtract.at(edges, starts + self.minimum, 1)
        return edges[:-1].cumsum() > 0

    def scan(self, first: int) -> None:
        """Look at the windows that begin in one block of the training text."""
        last = first + BLOCK_TOKENS + len(self.text) - 1
        block = _Block(first, np.asarray(self.training.tokens[first:last], dtype=np.int64), self.powers)
        places = block.candidates(self._windows(min(self.minimum, self.longest + 1)))
        self._mark(block, places)
        self._extend(block, places)

    def _mark(self, block: _Block, places: np.ndarray) -> None:
        """Note which windows of `minimum` tokens have a copy in the block: one place each is compared."""
        places, windows = self._matches(block, places, self.minimum)
        while len(places):
            new = ~self.copied[windows]
            places, windows = places[new], windows[new]
            chosen, index = np.unique(windows, return_index=True)
            equal = self._equal(block, places[index], chosen)
            self.copied[chosen[equal]] = True
            places, windows = np.delete(places, index), np.delete(windows, index)  # where hashes collide, the next

    def _equal(self, block: _Block, places: np.ndarray, windows: np.ndarray) -> np.ndarray:
        within = np.arange(self.minimum)
        starts = self._windows(self.minimum).starts[windows]
        return (block.tokens[places[:, None] + within] == self.text[starts[:, None] + within]).all(axis=1)

    def _extend(self, block: _Block, places: np.ndarray) -> None:
        """Find the longest copy in the block by bisection, if it is longer than the longest so far."""
        low, high = self.longest, len(self.text)
        length = low + 1  # most blocks hold nothing longer: ask for that first
        while low < high:
            matching, windows = self._matches(block, places, length)
            start = self._compare(block, matching, windows, length)
            if start is None:
                high = length - 1
            else:
                low, places, self.start, self.longest = length, matching, start, length
            length = (low + high + 1) // 2

    def _compare(self, block: _Block, places: np.ndarray, windows: np.ndarray, length: int) -> int | None:
        """Return where the first of these windows that is truly copied starts in the text."""
        for place, window in zip(places.tolist(), windows.tolist(), strict=True):
            start = int(self._windows(length).starts[window])
            if np.array_equal(block.tokens[place : place + length], self.text[start : start + length]):
                return start
        return None

    def _matches(self, block: _Block, places: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Keep the places where a window of the text may have a copy that ends within the document.

        Returns:
            Places, and the number of the window each may be a copy of: pairs of equal hashes.
        """
        if length > len(self.text):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        document = np.searchsorted(self.training.starts, places + block.first, "right") - 1
        places = places[places + block.first + length <= self.ends[document]]
        return self._windows(length).lookup(places, block.hashes.of(places, length))

    def _windows(self, length: int) -> _Windows:
        if length not in self.windows:
            if len(self.windows) >= KEPT_LENGTHS:
                self.windows.clear()
            self.windows[length] = _Windows(self.names.of(length), self.hashes, length)
        return self.windows[length]


class _Powers:
    """Powers of MULTIPLIER from the first on, and their inverses, modulo 2**64."""

    def __init__(self, count: int) -> None:
        self.powers = np.cumprod(np.full(count, MULTIPLIER, dtype=np.uint64))
        self.inverses = np.cumprod(np.full(count, pow(MULTIPLIER, -1, 2**64), dtype=np.uint64))


class _Hashes:
    """The hash of any window of some tokens."""

    def __init__(self, tokens: np.ndarray, powers: _Powers) -> None:
        self.inverses = powers.inverses
        self.sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
        np.cumsum(tokens.view(np.uint64) * powers.powers[: len(tokens)], out=self.sums[1:])

    def of(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Hash the windows of one length that begin at some places."""
        return (self.sums[starts + length] - self.sums[starts]) * self.inverses[starts]

    def all(self, length: int, *, most: int) -> np.ndarray:
        """Hash the first `most` windows of one length."""
        count = max(0, min(most, len(self.sums) - length))
        return (self.sums[length : length + count] - self.sums[:count]) * self.inverses[:count]


class _Names:
    """Numbers for the windows of a text, equal where and only where the windows are (Karp, Miller, Rosenberg 1972)."""

    def __init__(self, text: np.ndarray) -> None:
        self.size = len(text)
        self.doubled = [np.unique(text, return_inverse=True)[1]]
        while 2 ** len(self.doubled) <= self.size:
            self.doubled.append(np.unique(self._pairs(2 ** len(self.doubled)), return_inverse=True)[1])

    def of(self, length: int) -> np.ndarray:
        """Return one number for each window of a length, (windows,) int64."""
        return self._pairs(length) if length > 1 else self.doubled[0]

    def _pairs(self, length: int) -> np.ndarray:
        """Number windows by their two ends, which overlap or touch, of a length that is a power of two."""
        power = (length - 1).bit_length() - 1
        count, ends = max(0, self.size - length + 1), self.doubled[min(power, len(self.doubled) - 1)]
        last = length - 2**power
        return ends[:count] * self.size + ends[last : last + count]


class _Windows:
    """The distinct windows of one length in a text, with their hashes.

    Attributes:
        of: For each place in the text, the number of the window that begins there.
        starts: Where each distinct window begins first.
    """

    def __init__(self, names: np.ndarray, hashes: _Hashes, length: int) -> None:
        self.length = length
        _, self.starts, self.of = np.unique(names, return_index=True, return_inverse=True)
        found = hashes.of(self.starts, length)
        self.order = np.argsort(found, kind="stable")
        self.sorted = found[self.order]
        self.table = np.zeros(2**TABLE_BITS, dtype=bool)
        self.table[_first_bits(found)] = True

    def lookup(self, places: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pair each place with the windows that have its hash: none or one, more where hashes collide."""
        first = np.searchsorted(self.sorted, hashes, "left")
        counts = np.searchsorted(self.sorted, hashes, "right") - first
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return np.repeat(places, counts), self.order[np.repeat(first, counts) + within]


class _Block:
    """A piece of the training text, with what follows it as far as a window may reach."""

    def __init__(self, first: int, tokens: np.ndarray, powers: _Powers) -> None:
        self.first, self.tokens, self.hashes = first, tokens, _Hashes(tokens, powers)

    def candidates(self, windows: _Windows) -> np.ndarray:
        """List the places whose hash begins as that of a window does."""
        return np.flatnonzero(windows.table[_first_bits(self.hashes.all(windows.length, most=BLOCK_TOKENS))])


def _first_bits(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)
