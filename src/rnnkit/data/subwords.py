"""Vocabularies of word pieces over bytes: BPE and unigram, learnt by `tokenizers`."""

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rnnkit.data.tokens import (
    SPECIAL_PIECES,
    BatchEncoder,
    ByteDecoder,
    Decoder,
    Vocabulary,
    last_match,
    printable_bytes,
    refuse_minimum_count,
)
from rnnkit.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SMALLEST_SIZE = len(SPECIAL_PIECES) + 256
TRAINING_BYTES = 64_000_000  # bounds the time and memory of learning pieces
SAMPLE_PERIOD = 1_000_000  # characters from the start of one sampled block to the next
PIECE_CHARACTERS = 50_000  # handed to the trainer at a time, which works on several at once
REMEMBERED_TOKENS = 2_000_000  # of encoded units
UNSEEN_SCORE = -30.0  # log-probability of a byte that a tiny text gave no finite score

# White_Space of Unicode, as in GPT-2's pattern; Python's \s also holds U+001C to U+001F, which are none there.
WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# GPT-2's pattern starts a new piece wherever white space follows something else, and wherever one of these marks
# follows a letter or digit (the second rule cuts text without spaces, as Chinese).
BOUNDARY = re.compile(
    rf"(?<=[^{WHITE_SPACE}])(?=[{WHITE_SPACE}])"
    "|(?<=[0-9A-Za-z\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3])(?=[.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])"
)
# Merging pairs is quadratic in the length of a word, so BPE cuts longer ones; no cut depends on the text around it.
LONGEST_WORD = 200
LONG_WORD = "|".join(rf"{kind}{{{LONGEST_WORD}}}" for kind in (r"\p{L}", r"\p{N}", r"[^\s\p{L}\p{N}]", r"\s"))
UNIT = re.compile(rf"[{WHITE_SPACE}]*[^{WHITE_SPACE}]+|[{WHITE_SPACE}]+")
SURROGATE = re.compile("[\ud800-\udfff]")


class SubwordVocabulary(Vocabulary):
    """Pieces of words over bytes, learnt by `tokenizers`; every text can be encoded and comes back unchanged.

    A piece never crosses from a word into the white space after it (the pattern of GPT-2), so each stretch of white
    space with its word, a unit, is encoded once, however often it occurs.
    """

    def __init__(self, tokenizer: dict[str, Any], *, sampled_share: float) -> None:
        self.tokenizer = tokenizer
        self.sampled_share = sampled_share

    @classmethod
    @abstractmethod
    def _learn(cls, texts: Iterator[str], *, pieces: int) -> "Tokenizer": ...

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int | None, minimum_count: int) -> Self:
        """Learn pieces from at most TRAINING_BYTES of `texts`, in blocks spread evenly over them."""
        refuse_minimum_count(cls.kind, minimum_count)
        text_bytes = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
        size = suggested_subword_size(text_bytes) if size is None else size
        if size < SMALLEST_SIZE:
            raise ConfigError(
                f"vocabulary size {size} is too small for {cls.kind!r}; expected 258 or more (256 bytes and 2 special)."
            )
        share = min(1.0, TRAINING_BYTES / max(text_bytes, 1))
        tokenizer = cls._learn(_sample(texts, share=share), pieces=size - len(SPECIAL_PIECES))
        return cls(json.loads(tokenizer.to_str()), sampled_share=share)

    @property
    def size(self) -> int:
        return len(self._pieces)

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer  # heavy, and needed by these vocabularies alone

        return Tokenizer.from_str(json.dumps(self.tokenizer))

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        saved = self.tokenizer["model"]["vocab"]
        names = sorted(saved, key=saved.__getitem__) if isinstance(saved, dict) else [name for name, _ in saved]
        alphabet = _byte_alphabet()
        return (b"", "\ufffd".encode(), *(bytes(alphabet[character] for character in name) for name in names))

    def encode(self, text: str) -> np.ndarray:
        return self.encoder()([text])[0]

    def encoder(self) -> BatchEncoder:
        return _UnitEncoder(self._tokenizer).encode

    def decoder(self) -> Decoder:
        return ByteDecoder(self._pieces)

    def piece(self, id: int) -> str:
        return SPECIAL_PIECES[id] if id < len(SPECIAL_PIECES) else printable_bytes(self._pieces[id])

    def split(self, text: str) -> list[str]:
        """Cut a text into the words that no piece crosses, in the printable stand-ins of their bytes."""
        return [part for part, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(text)]

    def safe_cut(self, text: str) -> int:
        return last_match(BOUNDARY, text)

    def to_dict(self) -> dict[str, Any]:
        return {"sampled_share": self.sampled_share, "tokenizer": self.tokenizer}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        return cls(saved["tokenizer"], sampled_share=saved["sampled_share"])


class BPEVocabulary(SubwordVocabulary):
    """Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019)."""

    kind = "bpe"

    @classmethod
    def _learn(cls, texts: Iterator[str], *, pieces: int) -> "Tokenizer":
        from tokenizers import Regex, models, trainers
        from tokenizers.pre_tokenizers import Sequence, Split

        trainer = trainers.BpeTrainer(
            vocab_size=pieces, initial_alphabet=sorted(_byte_alphabet()), special_tokens=[], show_progress=False
        )
        tokenizer = _byte_level(models.BPE())
        tokenizer.pre_tokenizer = Sequence([Split(Regex(LONG_WORD), "isolated"), tokenizer.pre_tokenizer])
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


class UnigramVocabulary(SubwordVocabulary):
    """Byte-level unigram language model pieces (Kudo 2018)."""

    kind = "unigram"

    @classmethod
    def _learn(cls, texts: Iterator[str], *, pieces: int) -> "Tokenizer":
        from tokenizers import models, trainers

        trainer = trainers.UnigramTrainer(
            vocab_size=pieces, initial_alphabet=sorted(_byte_alphabet()), special_tokens=[], show_progress=False
        )
        tokenizer = _byte_level(models.Unigram())
        tokenizer.train_from_iterator(texts, trainer)
        saved = json.loads(tokenizer.to_str())["model"]["vocab"]
        scored = [(piece, UNSEEN_SCORE if score is None else score) for piece, score in saved]
        return _byte_level(models.Unigram(scored))


class _UnitEncoder:
    """Encodes texts unit by unit, and remembers the units it has met."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._forget()

    def _forget(self) -> None:
        self._rows: dict[str, int] = {}
        self._ids = np.empty(0, dtype=np.int32)  # of all units met, end to end
        self._lengths = np.empty(0, dtype=np.int64)  # (units,)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of some texts end to end, and how many each has."""
        if len(self._ids) > REMEMBERED_TOKENS:
            self._forget()
        units = [UNIT.findall(SURROGATE.sub("\ufffd", text)) for text in texts]
        every = list(chain.from_iterable(units))
        self._learn([unit for unit in dict.fromkeys(every) if unit not in self._rows])
        rows = np.fromiter(map(self._rows.__getitem__, every), np.int64, len(every))
        ends = np.cumsum(self._lengths[rows])
        ends_of_texts = np.append(0, ends)[np.cumsum(np.fromiter(map(len, units), np.int64, len(units)))]
        return _gather(self._ids, lengths=self._lengths, order=rows), np.diff(ends_of_texts, prepend=0)

    def _learn(self, units: list[str]) -> None:
        encoded = [one.ids for one in self._tokenizer.encode_batch_fast(units, add_special_tokens=False)]
        ids = np.fromiter(chain.from_iterable(encoded), np.int32) + np.int32(len(SPECIAL_PIECES))
        self._rows.update(zip(units, range(len(self._rows), len(self._rows) + len(units)), strict=True))
        self._ids = np.concatenate([self._ids, ids])
        self._lengths = np.concatenate([self._lengths, np.fromiter(map(len, encoded), np.int64, len(encoded))])


def suggested_subword_size(text_bytes: int) -> int:
    """Return about the square root of a text's bytes (Heaps 1978), as a power of 2 from 512 to 32,768."""
    return 2 ** min(max(round(np.log2(max(text_bytes, 1)) / 2), 9), 15)


def _byte_level(model: Any) -> "Tokenizer":
    from tokenizers import Tokenizer, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


@cache
def _byte_alphabet() -> dict[str, int]:
    """Map the printable stand-in of each byte (Radford et al. 2019) to the byte."""
    as_they_are = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in as_they_are]
    return {chr(value): value for value in as_they_are} | {
        chr(256 + number): value for number, value in enumerate(others)
    }


def _sample(texts: Iterable[str], *, share: float) -> Iterator[str]:
    """Yield the first `share` of every SAMPLE_PERIOD characters of the texts set end to end, in small pieces."""
    kept = round(SAMPLE_PERIOD * share)
    position = 0
    for text in texts:
        for start in range(-(position % SAMPLE_PERIOD), len(text), SAMPLE_PERIOD):
            block = text[max(start, 0) : max(start + kept, 0)]
            for piece in range(0, len(block), PIECE_CHARACTERS):
                yield SURROGATE.sub("\ufffd", block[piece : piece + PIECE_CHARACTERS])
        position += len(text)


def _gather(flat: np.ndarray, *, lengths: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Concatenate the rows `order` of a ragged array, which `flat` holds end to end with `lengths` (rows,)."""
    starts = np.cumsum(lengths) - lengths
    taken = lengths[order]
    ends = np.cumsum(taken)
    shift = np.repeat(starts[order] - (ends - taken), taken)
    return flat[shift + np.arange(len(shift))]
