"""What every vocabulary is: two special ids, a way from text to ids and back, also incrementally."""

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from rnnkit.errors import ConfigError, DataError

DOCUMENT = 0  # the input before a document's first token, and the target between documents
UNKNOWN = 1
SPECIAL_PIECES = ("<document>", "<unk>")
WORD_START = re.compile(r"(?<=\s)")

CLOSING = frozenset(".,;:!?%)]}…”»、。，；：！？")
OPENING = frozenset("([{“«$£€#")
VISIBLE = {"\n": "⏎", " ": "␣", "\t": "⇥"}


BatchEncoder = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""Turns texts into their ids end to end, (tokens,) int32, and the number of each text's ids, (texts,) int64."""


class Decoder(ABC):
    """Turn ids into text one at a time; the pushes and `finish` joined are `Vocabulary.decode` of the same ids."""

    def __init__(self, pieces: Sequence[Any]) -> None:
        self.pieces = pieces

    def push(self, id: int) -> str:
        """Return the text that is certain after one more id; "" while a character is incomplete.

        Raises:
            DataError: If `id` is not an id of the vocabulary.
        """
        if not 0 <= id < len(self.pieces):
            raise DataError(f"token id {id} is not in the vocabulary; expected 0 to {len(self.pieces) - 1}.")
        return self._text(id)

    def finish(self) -> str:
        """Return what was held back: U+FFFD for a character that never became complete."""
        return ""

    @abstractmethod
    def _text(self, id: int) -> str: ...


class CharacterDecoder(Decoder):
    """Each id is its character."""

    def _text(self, id: int) -> str:
        return self.pieces[id]


class ByteDecoder(Decoder):
    """Each id is some bytes of UTF-8; bad bytes become U+FFFD."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces)
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def _text(self, id: int) -> str:
        return self._utf8.decode(self.pieces[id])

    def finish(self) -> str:
        """Return U+FFFD if the last character is incomplete."""
        return self._utf8.decode(b"", final=True)


class WordDecoder(Decoder):
    """Each id is a word; the space before it depends on the word and the one before."""

    def __init__(self, pieces: Sequence[str], *, joined_punctuation: bool) -> None:
        super().__init__(pieces)
        self._closing = CLOSING if joined_punctuation else frozenset[str]()
        self._opening = OPENING if joined_punctuation else frozenset[str]()
        self._previous = ""

    def _text(self, id: int) -> str:
        return self.say(self.pieces[id])

    def say(self, word: str) -> str:
        """Return a word, in the vocabulary or not, with the space that stands before it."""
        previous = self._previous
        self._previous = word
        apart = previous not in ("", "\n") and word not in ("", "\n")
        apart = apart and word not in self._closing and previous not in self._opening
        return " " + word if apart else word


class Vocabulary(ABC):
    """A two-way map between text and token ids.

    Attributes:
        kind: Its key in VOCABULARIES.
        sampled_share: Share of the training text it was learnt from, in (0, 1]; below 1 only for subwords.
        forgotten_count: Words seen so often while counting may have been forgotten, for want of memory; mostly 0.
    """

    kind: ClassVar[str]
    sampled_share: float = 1.0
    forgotten_count: int = 0

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of ids, with the two special ones."""

    @classmethod
    @abstractmethod
    def build(cls, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Learn a vocabulary; see `build_vocabulary`."""

    def grown(self, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Return this vocabulary with what new texts hold and it lacks at its end; one that spells any text stays.

        Args:
            texts: New training documents.
            size: The most ids, or None.
            minimum_count: What occurs less often in them is left out.

        Returns:
            A vocabulary in which every id means what it meant.
        """
        del texts, size, minimum_count
        return self

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Return the ids of `text`, (tokens,) int32."""

    def encoder(self) -> BatchEncoder:
        """Return what encodes many texts quickest; it gives each the ids of `encode`."""
        return self._encode_each

    def _encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        encoded = [self.encode(text) for text in texts]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        return np.concatenate([np.empty(0, dtype=np.int32), *encoded]), lengths

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a new incremental decoder."""

    @abstractmethod
    def piece(self, id: int) -> str:
        """Return one token in printable form, for tables: a line end is ⏎, a space ␣, a tab ⇥."""

    @abstractmethod
    def safe_cut(self, text: str) -> int:
        """Return how many leading characters of `text` have tokens that nothing that follows can change.

        With cut = safe_cut(text), for any continuation `more` (also ""):
        encode(text + more) == encode(text[:cut]) followed by encode(text[cut:] + more).
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the vocabulary, JSON-able; `from_dict` of its class takes it back."""

    @classmethod
    @abstractmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """Rebuild a vocabulary from `to_dict`."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some ids; DOCUMENT has none.

        Raises:
            DataError: If an id is not in the vocabulary.
        """
        decoder = self.decoder()
        return "".join(decoder.push(int(id)) for id in ids) + decoder.finish()


def last_match(pattern: re.Pattern[str], text: str) -> int:
    """Find where a zero-width pattern matches last, looking from the end; 0 if nowhere."""
    window = 256
    while True:
        first = max(0, len(text) - window)
        matches = [match.start() for match in pattern.finditer(text, first)]
        if matches or first == 0:
            return matches[-1] if matches else 0
        window *= 8


def refuse_minimum_count(kind: str, minimum_count: int) -> None:
    """Raise ConfigError if a minimum count is asked of a kind that counts nothing."""
    if minimum_count != 1:
        raise ConfigError(
            f"minimum_count {minimum_count} does not fit vocabulary kind {kind!r}; leave it out, or use 'word'."
        )


def printable(text: str) -> str:
    """Show a line end, a space and a tab as visible signs, other control characters escaped."""
    return "".join(
        VISIBLE.get(character) or (character if character.isprintable() else ascii(character)[1:-1])
        for character in text
    )


def printable_bytes(piece: bytes) -> str:
    r"""Show bytes as the text they are, or as \xe2 where they are only a part of a character."""
    try:
        return printable(piece.decode("utf-8"))
    except UnicodeDecodeError:
        return "".join(f"\\x{value:02x}" for value in piece)
