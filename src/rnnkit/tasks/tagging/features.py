"""What the network sees of a word: its number, its characters, its shape, beginnings and endings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from rnnkit.tasks.saved import reading

UNKNOWN = 0  # of words, characters and features alike
BEGIN, END = 1, 2  # around a word's characters
FIRST_CHARACTER = 3
LONGEST_WORD = 30  # characters read of a longer one: its first and last halves
LEAST_FEATURE = 2  # a beginning or an ending seen in fewer different words is unknown
AFFIXES = (1, 2, 3, 4)
FEATURES = ("word", "shape", *(f"{side}{size}" for side in ("begin", "end") for size in AFFIXES))
DIGIT = re.compile(r"[0-9]")
RUN = re.compile(r"(.)\1+")


class WordNumbers(NamedTuple):
    """Distinct words in numbers, int64."""

    ids: np.ndarray
    """(words,) numbers of known words."""
    characters: np.ndarray
    """(words, longest) numbers of characters, 0 past the end."""
    lengths: np.ndarray
    """(words,)."""
    features: np.ndarray
    """(words, len(FEATURES)) numbers of features."""


@dataclass(frozen=True)
class WordFeatures:
    """The words, characters and features that training has seen.

    Attributes:
        words: Normalised; the most frequent first.
        counts: How often training has each, as many as it has itself: words of a file of vectors follow.
        characters: The most frequent first.
        features: As "end3=ing".
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    characters: str
    features: tuple[str, ...]

    @classmethod
    def learn(cls, words: Iterable[str], *, minimum_count: int, size: int | None, more: Iterable[str] = ()) -> Self:
        """Collect what training sentences show.

        Args:
            words: Of all sentences.
            minimum_count: Words seen less often are unknown.
            size: The most words; None takes all.
            more: Further words that are known, the most important first.

        Returns:
            The features.
        """
        exact = Counter(words)
        counts: Counter[str] = Counter()
        for word, count in exact.items():
            counts[normalise(word)] += count
        known = [word for word, count in counts.most_common() if count >= minimum_count][:size]
        held = set(known)
        further = list(dict.fromkeys(word for word in map(normalise, more) if word not in held))
        further = further if size is None else further[: size - len(known)]
        characters = Counter(character for word in exact for character in word)
        found = Counter(feature for word in exact for feature in word_features(word))
        features = [feature for feature, count in found.most_common() if count >= LEAST_FEATURE]
        order = sorted(characters, key=lambda one: (-characters[one], one))
        return cls((*known, *further), tuple(counts[word] for word in known), "".join(order), tuple(features))

    def joined(self, other: WordFeatures) -> Self:
        """Add what another tagger knows; its words count as often as they did there."""
        more = dict(zip(other.words, other.counts, strict=False))
        counts = [count + more.get(word, 0) for word, count in zip(self.words, self.counts, strict=False)]
        held = set(self.words)
        new = [word for word in other.words if word not in held]
        counts += [0] * (len(self.words) - len(counts)) + [more.get(word, 0) for word in new]
        characters = "".join(dict.fromkeys(self.characters + other.characters))
        features = tuple(dict.fromkeys((*self.features, *other.features)))
        return type(self)((*self.words, *new), tuple(counts), characters, features)

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        words = {word: number for number, word in enumerate(self.words, start=1)}
        characters = {one: number for number, one in enumerate(self.characters, start=FIRST_CHARACTER)}
        return words, characters, {one: number for number, one in enumerate(self.features, start=1)}

    def encode(self, words: Sequence[str]) -> WordNumbers:
        """Look distinct words up."""
        known, letters, features = self._numbers
        ids = [known.get(normalise(word), UNKNOWN) for word in words]
        spelt = [[BEGIN, *(letters.get(one, UNKNOWN) for one in _shortened(word)), END] for word in words]
        lengths = [len(one) for one in spelt]
        characters = np.zeros((len(words), max(lengths, default=1)), dtype=np.int64)
        for row, one in zip(characters, spelt, strict=True):
            row[: len(one)] = one
        found = [[features.get(feature, UNKNOWN) for feature in word_features(word)] for word in words]
        table = np.array(found, dtype=np.int64).reshape(len(words), len(FEATURES))
        return WordNumbers(np.array(ids, dtype=np.int64), characters, np.array(lengths, dtype=np.int64), table)

    def knows(self, word: str) -> bool:
        """Whether a word has a number of its own."""
        return normalise(word) in self._numbers[0]

    def save(self, folder: Path) -> None:
        """Write words.json."""
        (folder / "words.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The features.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = folder / "words.json"
        with reading(path):
            saved = json.loads(path.read_text())
            words, counts, features = (tuple(saved[name]) for name in ("words", "counts", "features"))
            return cls(words, counts, str(saved["characters"]), features)


def normalise(word: str) -> str:
    """Return what a word is known by: small letters, 0 for digits."""
    return DIGIT.sub("0", word.lower())


def word_features(word: str) -> list[str]:
    """Name a word's features, one for each of FEATURES; an affix longer than the word is the whole word.

    Args:
        word: As it is written.

    Returns:
        As ["word=ran", "shape=x", "begin1=r", ..., "end4=ran"].
    """
    small = normalise(word)
    affixes = [small[:size] for size in AFFIXES] + [small[-size:] for size in AFFIXES]
    return [f"{name}={value}" for name, value in zip(FEATURES, (small, shape(word), *affixes), strict=True)]


def shape(word: str) -> str:
    """Describe a word by classes of its characters.

    Args:
        word: As it is written.

    Returns:
        X for a capital, XX for several, x for small letters, 0 for digits, other characters as they are, once.

    Example:
        >>> shape("McDonald's"), shape("B-52"), shape("NATO"), shape("X")
        ("XxXx'x", 'X-0', 'XX', 'X')
    """
    classes = "".join("X" if one.isupper() else "x" if one.isalpha() else "0" if one.isdigit() else one for one in word)
    return RUN.sub(lambda run: "XX" if run[1] == "X" else run[1], classes)


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD // 2] + word[-LONGEST_WORD // 2 :]
