"""Vocabularies by kind: learn one from text, save it, load it.

Id 0 is DOCUMENT (the input before a document's first token, and the target between documents), id 1 is UNKNOWN; no
text encodes to id 0.
"""

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from rnnkit.data.subwords import BPEVocabulary, UnigramVocabulary
from rnnkit.data.tokens import (
    DOCUMENT,
    SPECIAL_PIECES,
    UNKNOWN,
    WORD_START,
    ByteDecoder,
    CharacterDecoder,
    Decoder,
    Vocabulary,
    WordDecoder,
    last_match,
    printable,
    printable_bytes,
    refuse_minimum_count,
)
from rnnkit.errors import CheckpointError, ConfigError

__all__ = [
    "DOCUMENT",
    "UNKNOWN",
    "VOCABULARIES",
    "Vocabulary",
    "build_vocabulary",
    "character_counts",
    "inside_word",
    "is_tokenised",
    "load",
    "save",
]

FORMAT_VERSION = 1
TOKENISED_SHARE = 0.9  # of the marks before a space, how many stand alone in a text that is tokenised already
TOKENISED_CHARACTERS = 1_000_000  # read of each text to find that out, of the first TOKENISED_TEXTS
TOKENISED_TEXTS = 100
MOST_WORDS = 4_000_000  # counted at a time; of more the rarest are forgotten, which bounds the memory to some 0.6 GB
MARKS = re.compile(r"[,;:!?](?!\S)")  # no full stop: abbreviations keep theirs
LONE_MARKS = re.compile(r"(?<!\S)[,;:!?](?!\S)")
WHITESPACE_WORD = re.compile(r"\n|\S+")


class CharacterVocabulary(Vocabulary):
    """Every Unicode character is a token; one never seen in training is UNKNOWN and decodes to U+FFFD."""

    kind = "character"

    def __init__(self, characters: str) -> None:
        self.characters = characters

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Take the characters of `texts`, most frequent first."""
        return cls("".join(_most_frequent(character_counts(texts), size=size, minimum_count=minimum_count)))

    @property
    def size(self) -> int:
        return len(SPECIAL_PIECES) + len(self.characters)

    def grown(self, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Add the characters of `texts` that are new."""
        counts = character_counts(texts)
        return type(self)("".join(_with_new(self.characters, counts, size=size, minimum_count=minimum_count)))

    @cached_property
    def _ids(self) -> np.ndarray:
        ids = np.full(sys.maxunicode + 1, UNKNOWN, dtype=np.int32)
        ids[_code_points(self.characters)] = np.arange(len(SPECIAL_PIECES), self.size)
        return ids

    def encode(self, text: str) -> np.ndarray:
        return self._ids[_code_points(text)]

    def decoder(self) -> Decoder:
        return CharacterDecoder(("", "\ufffd", *self.characters))

    def piece(self, id: int) -> str:
        return SPECIAL_PIECES[id] if id < len(SPECIAL_PIECES) else printable(self.characters[id - len(SPECIAL_PIECES)])

    def safe_cut(self, text: str) -> int:
        return len(text)

    def to_dict(self) -> dict[str, Any]:
        return {"characters": self.characters}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        return cls(saved["characters"])


class ByteVocabulary(Vocabulary):
    """Every byte of UTF-8 is a token, so nothing is unknown."""

    kind = "byte"

    @property
    def size(self) -> int:
        return len(SPECIAL_PIECES) + 256

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Return the one byte vocabulary there is, whatever the texts."""
        refuse_minimum_count(cls.kind, minimum_count)
        if size not in (None, 258):
            raise ConfigError(
                f"vocabulary size {size} does not fit kind 'byte', which has 258 (256 bytes and 2 special)."
            )
        return cls()

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(np.int32) + len(
            SPECIAL_PIECES
        )

    def decoder(self) -> Decoder:
        return ByteDecoder((b"", "\ufffd".encode(), *(bytes([value]) for value in range(256))))

    def piece(self, id: int) -> str:
        return SPECIAL_PIECES[id] if id < len(SPECIAL_PIECES) else printable_bytes(bytes([id - len(SPECIAL_PIECES)]))

    def safe_cut(self, text: str) -> int:
        return len(text)

    def to_dict(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        return cls()


class WordVocabulary(Vocabulary):
    """Words are tokens, and so is every line end (the <eos> of the field); spaces are not kept.

    Split "whitespace" takes what stands between spaces, for text that is tokenised already, as WikiText; "punctuation"
    also splits punctuation off (not inside don't, well-known, 3.14), and decodes it without the spaces.
    """

    kind = "word"

    def __init__(self, words: Sequence[str], *, split: str) -> None:
        self.words = tuple(words)
        self.split = split
        self._pattern = WHITESPACE_WORD if split == "whitespace" else _punctuation_pattern()
        self._ids = {word: id for id, word in enumerate(self.words, start=len(SPECIAL_PIECES))}

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int | None, minimum_count: int, split: str = "auto") -> Self:
        """Take the words of `texts`, most frequent first; `split` "auto" sees whether they are tokenised already."""
        if split not in ("auto", "whitespace", "punctuation"):
            raise ConfigError(f"word_split is {split!r}; expected 'auto', 'whitespace' or 'punctuation'.")
        if split == "auto":
            split = "whitespace" if is_tokenised(texts) else "punctuation"
        counts, forgotten = cls((), split=split)._counts(texts)
        vocabulary = cls(_most_frequent(counts, size=size, minimum_count=minimum_count), split=split)
        vocabulary.forgotten_count = forgotten
        return vocabulary

    def grown(self, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Add the words of `texts` that are new."""
        counts, forgotten = self._counts(texts)
        words = _with_new(self.words, counts, size=size, minimum_count=minimum_count)
        vocabulary = type(self)(words, split=self.split)
        vocabulary.forgotten_count = forgotten
        return vocabulary

    def _counts(self, texts: Iterable[str]) -> tuple[Counter[str], int]:
        """Count the words, and say up to which count some were forgotten for want of room."""
        counts, forgotten = _count(self._pattern.findall(text) for text in texts)
        del counts[SPECIAL_PIECES[UNKNOWN]]
        return counts, forgotten

    @property
    def size(self) -> int:
        return len(SPECIAL_PIECES) + len(self.words)

    def encode(self, text: str) -> np.ndarray:
        ids = self._ids
        return np.array([ids.get(word, UNKNOWN) for word in self.words_of(text)], dtype=np.int32)

    def words_of(self, text: str) -> list[str]:
        """Cut a text into words, one a token."""
        return self._pattern.findall(text)

    def decoder(self) -> Decoder:
        return WordDecoder(("", SPECIAL_PIECES[UNKNOWN], *self.words), joined_punctuation=self.split == "punctuation")

    def piece(self, id: int) -> str:
        return SPECIAL_PIECES[id] if id < len(SPECIAL_PIECES) else printable(self.words[id - len(SPECIAL_PIECES)])

    def safe_cut(self, text: str) -> int:
        return last_match(WORD_START, text)

    def to_dict(self) -> dict[str, Any]:
        return {"split": self.split, "words": list(self.words)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        return cls(saved["words"], split=saved["split"])


VOCABULARIES: dict[str, type[Vocabulary]] = {
    kind.kind: kind for kind in (CharacterVocabulary, ByteVocabulary, WordVocabulary, BPEVocabulary, UnigramVocabulary)
}


def build_vocabulary(
    kind: str, texts: Iterable[str], *, size: int | None = None, minimum_count: int = 1, word_split: str = "auto"
) -> Vocabulary:
    """Learn a vocabulary from training text.

    Args:
        kind: A key of VOCABULARIES: "character", "byte", "word", "bpe" or "unigram".
        texts: The training text in pieces that end where words do, to be gone through more than once.
        size: The most ids, with the two special ones: the most frequent words or characters are kept, or so many
            pieces learnt. None keeps all words and characters; subwords choose by the size of the text.
        minimum_count: Words and characters seen less often are left out; of the rest of equal count, the one first in
            code point order is kept.
        word_split: "whitespace", "punctuation" or "auto"; only for kind "word".

    Returns:
        The vocabulary; its `size` may be below the one asked for when the text is small.

    Raises:
        ConfigError: If the kind is unknown, or an option does not fit it.

    Example:
        >>> vocabulary = build_vocabulary("character", ["hello"])
        >>> vocabulary.encode("hello").tolist(), vocabulary.size
        ([4, 3, 2, 2, 5], 6)
    """
    if kind not in VOCABULARIES:
        raise ConfigError(f"vocabulary kind {kind!r} is unknown; expected one of: {', '.join(VOCABULARIES)}.")
    if minimum_count < 1:
        raise ConfigError(f"minimum_count is {minimum_count}; expected 1 or more.")
    if kind == WordVocabulary.kind:
        return WordVocabulary.build(texts, size=size, minimum_count=minimum_count, split=word_split)
    if word_split != "auto":
        raise ConfigError(
            f"word_split {word_split!r} does not fit vocabulary kind {kind!r}; leave it out, or use 'word'."
        )
    return VOCABULARIES[kind].build(texts, size=size, minimum_count=minimum_count)


def character_counts(texts: Iterable[str]) -> dict[str, int]:
    """Count each character of some texts, in code point order."""
    counts = np.zeros(sys.maxunicode + 1, dtype=np.int64)
    for text in texts:
        found = np.bincount(_code_points(text))
        counts[: len(found)] += found
    return {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}


def is_tokenised(texts: Iterable[str]) -> bool:
    """Tell whether punctuation stands apart from words already, as in WikiText ("the end . ")."""
    marks = lone = 0
    for text in islice(texts, TOKENISED_TEXTS):
        head = text[:TOKENISED_CHARACTERS]
        marks += len(MARKS.findall(head))
        lone += len(LONE_MARKS.findall(head))
    return marks > 0 and lone >= TOKENISED_SHARE * marks


def save(vocabulary: Vocabulary, path: str | Path) -> None:
    """Write a vocabulary as JSON, by convention to `vocabulary.json`."""
    saved = {"kind": vocabulary.kind, "version": FORMAT_VERSION, **vocabulary.to_dict()}
    Path(path).write_text(json.dumps(saved, ensure_ascii=True), encoding="utf-8")


def load(path: str | Path) -> Vocabulary:
    """Read a vocabulary that `save` wrote.

    Returns:
        The vocabulary, of the class its kind names.

    Raises:
        CheckpointError: If the file is missing, damaged, of a later version or of an unknown kind.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
        kind, version = saved["kind"], saved["version"]
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such vocabulary; name a model folder, or train again.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: this is no vocabulary of rnnkit ({error!r}); copy the model folder again."
        ) from None
    if version != FORMAT_VERSION or kind not in VOCABULARIES:
        raise CheckpointError(
            f"{path}: the vocabulary has kind {kind!r}, version {version}; "
            f"expected {', '.join(VOCABULARIES)}, version {FORMAT_VERSION}: update rnnkit."
        )
    try:
        return VOCABULARIES[kind].from_dict(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the vocabulary is damaged ({error!r}); copy the model folder again.") from None


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _count(parts: Iterable[Iterable[str]]) -> tuple[Counter[str], int]:
    """Count words; where there are more than MOST_WORDS, also return up to which count some have been forgotten."""
    counts: Counter[str] = Counter()
    forgotten = 0
    for words in parts:
        counts.update(words)
        while len(counts) > MOST_WORDS:
            forgotten += 1
            counts = Counter({word: count for word, count in counts.items() if count > forgotten})
    return counts, forgotten


def _most_frequent(counts: Mapping[str, int], *, size: int | None, minimum_count: int) -> list[str]:
    if size is not None and size <= len(SPECIAL_PIECES):
        raise ConfigError(f"vocabulary size {size} leaves room for no token; expected 3 or more (2 ids are special).")
    frequent = [item for item, count in counts.items() if count >= minimum_count]
    kept = sorted(frequent, key=lambda item: (-counts[item], item))
    if not kept:
        raise ConfigError(f"nothing occurs {minimum_count} times; expected training text, or a smaller minimum_count.")
    return kept if size is None else kept[: size - len(SPECIAL_PIECES)]


def _with_new(known: Sequence[str], counts: Mapping[str, int], *, size: int | None, minimum_count: int) -> list[str]:
    """Return the known items, and after them the new ones, the most frequent first."""
    held = set(known)
    new = [item for item, count in counts.items() if count >= minimum_count and item not in held]
    new.sort(key=lambda item: (-counts[item], item))
    room = None if size is None else max(0, size - len(SPECIAL_PIECES) - len(held))
    return [*known, *new[:room]]


@cache
def inside_word() -> str:
    """Return the class of characters that words are made of, for a pattern: neither space nor mark nor symbol."""
    first_plane = "".join(
        character for character in map(chr, range(0x10000)) if unicodedata.category(character)[0] in "PS"
    )
    return rf"[^\s{re.escape(first_plane)}\U0001f000-\U0001faff]"  # the second range holds the emoji


@cache
def _punctuation_pattern() -> re.Pattern[str]:
    """Match a line end, <unk>, a word with what may stand inside it, or one mark (Unicode categories P and S)."""
    inside = inside_word()
    return re.compile(rf"\n|<unk>|{inside}+(?:['’\-]{inside}+|(?<=[0-9])[.,](?=[0-9]){inside}+)*|\S")
