"""The data doctor: what a text holds, what is wrong with it, and how to train on it."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from rnnkit.data.readers import Corpus, Document, FileReport, split_by_position
from rnnkit.data.subwords import suggested_subword_size
from rnnkit.data.tokens import blocks, printable
from rnnkit.data.vocabulary import WordVocabulary, character_counts, is_tokenised

RAREST = 12  # characters listed
EXAMPLES = 3  # repeated lines and documents shown
SHOWN_CHARACTERS = 60  # of an example
LONG_LINE = 20  # shorter lines repeat by nature, as the names in a play
SMALL_TEXT_BYTES = 5_000_000
HUGE_ALPHABET = 1000
VALID_CHARACTERS = 1_000_000  # validated on at most; the rest of a large text trains
PERCENTILES = (50, 90, 99)

PLAIN = {"‘": "'", "’": "'", "“": '"', "”": '"'}
LATIN_TWINS = dict(zip("АВЕКМНОРСТХаеорсхуіΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXaeopcxyiABEZHIKMNOPTYXo", strict=True))
TWIN_RATIO = 100  # a twin this much rarer than its Latin letter is a slip, not another language
CATEGORIES = {
    "Cc": "control character",
    "Cf": "invisible character",
    "Co": "private-use character",
    "Cn": "unassigned character",
    "Zs": "space that is not the plain one",
    "Zl": "line separator that is no line end",
    "Zp": "paragraph separator that is no line end",
}


@dataclass(frozen=True)
class CharacterRow:
    """One character: printable form, code point and name, count, file:line of its first, what is odd ("": nothing)."""

    character: str
    name: str
    count: int
    first: str
    odd: str


@dataclass(frozen=True)
class Lines:
    """Line lengths in characters, and long lines (LONG_LINE or more) that occur more than once.

    Attributes:
        count: Lines of all documents.
        empty_share: Share of them without a visible character.
        longest: Length of the longest.
        longest_at: Its file:line.
        percentiles: Length by percentile, of the lines that are not empty.
        repeated_share: Share of the long lines that repeat an earlier one.
        repeated: The most frequent repeated lines, with counts.
    """

    count: int
    empty_share: float
    longest: int
    longest_at: str
    percentiles: dict[int, int]
    repeated_share: float
    repeated: list[tuple[str, int]]


@dataclass(frozen=True)
class Words:
    """What stands between white space: how many, how many distinct, and two shares in [0, 1].

    `once_share` is of the distinct words; `unseen_share` of the words in the last 10 % that the first 90 % lacks.
    """

    count: int
    distinct: int
    once_share: float
    unseen_share: float


@dataclass(frozen=True)
class Suggestion:
    """A vocabulary kind, its size (None: as many as there are), the reason, and a validation share."""

    vocabulary: str
    vocabulary_size: int | None
    reason: str
    valid_share: float


@dataclass(frozen=True)
class TextInspection:
    """All that `inspect_text` found."""

    files: tuple[FileReport, ...]
    documents: int
    characters: int
    bytes: int
    distinct_characters: int
    rarest: list[CharacterRow]
    odd: list[CharacterRow]
    lines: Lines
    words: Words
    repeated_documents: list[tuple[str, str]]
    suggestion: Suggestion
    warnings: list[str]
    recommendations: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        return asdict(self)

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return titled tables of names and values, for a person."""
        lines, words, suggestion = self.lines, self.words, self.suggestion
        lengths = ", ".join(f"{length:,} (p{percentile})" for percentile, length in lines.percentiles.items())
        return [
            ("Files", [(file.path, _file_value(file)) for file in self.files]),
            (
                "Size",
                [
                    ("documents", f"{self.documents:,}"),
                    ("characters", f"{self.characters:,}"),
                    ("bytes as UTF-8", f"{self.bytes:,}"),
                    ("lines", f"{lines.count:,}"),
                    ("words", f"{words.count:,}"),
                ],
            ),
            (f"Characters: {self.distinct_characters:,} distinct; the rarest", [_row(row) for row in self.rarest]),
            *([("Odd characters", [_row(row) for row in self.odd])] if self.odd else []),
            (
                "Lines",
                [
                    ("longest", f"{lines.longest:,} characters, {lines.longest_at}"),
                    ("length in characters", lengths),
                    ("empty", f"{lines.empty_share:.1%}"),
                    (f"repeated, of those with {LONG_LINE} characters", f"{lines.repeated_share:.1%}"),
                    *((f"{count:,} times", line) for line, count in lines.repeated),
                ],
            ),
            (
                "Words",
                [
                    ("distinct", f"{words.distinct:,}"),
                    ("seen once", f"{words.once_share:.1%} of the distinct"),
                    ("unseen", f"{words.unseen_share:.1%} of the last 10 % are not in the first 90 %"),
                ],
            ),
            (
                "Suggested",
                [
                    ("vocabulary", f"{suggestion.vocabulary}: {suggestion.reason}"),
                    ("validation", f"the last {suggestion.valid_share:.1%}"),
                ],
            ),
            ("Warnings", [(str(number), text) for number, text in enumerate(self.warnings, start=1)]),
            ("To do", [(str(number), text) for number, text in enumerate(self.recommendations, start=1)]),
        ]


def inspect_text(corpus: Corpus) -> TextInspection:
    """Look a corpus over before training on it.

    Args:
        corpus: As returned by `read_text`.

    Returns:
        Sizes, oddities with file:line, repeats, a suggested vocabulary and split, and what to do first.
    """
    texts = [document.text for document in corpus.documents]
    counts = character_counts(texts)
    text_bytes = sum(count * _utf8_bytes(character) for character, count in counts.items())
    lines = _inspect_lines(corpus.documents)
    words = _inspect_words(corpus)
    odd = _odd_characters(corpus.documents, counts)
    repeated = _repeated_documents(corpus.documents)
    suggestion = _suggest(texts, text_bytes=text_bytes, alphabet=len(counts), characters=corpus.characters)
    warnings = _warnings(corpus, lines=lines, words=words, odd=odd, repeated_documents=len(repeated))
    return TextInspection(
        files=corpus.files,
        documents=len(texts),
        characters=corpus.characters,
        bytes=text_bytes,
        distinct_characters=len(counts),
        rarest=[
            _character_row(corpus.documents, character, counts)
            for character in sorted(counts, key=lambda character: (counts[character], character))[:RAREST]
        ],
        odd=odd,
        lines=lines,
        words=words,
        repeated_documents=repeated[:EXAMPLES],
        suggestion=suggestion,
        warnings=warnings,
        recommendations=_recommendations(corpus, suggestion, odd=odd, lines=lines, repeated_documents=len(repeated)),
    )


def _inspect_lines(documents: Sequence[Document]) -> Lines:
    lengths: list[np.ndarray] = []
    longest, longest_at = 0, ""
    empty = 0
    repeats: Counter[str] = Counter()
    for document in documents:
        lines = document.text.removesuffix("\n").split("\n")
        of_document = np.fromiter(map(len, lines), dtype=np.int64, count=len(lines))
        lengths.append(of_document)
        if of_document.max() >= longest:
            longest, longest_at = (
                int(of_document.max()),
                f"{document.source}:{document.first_line + of_document.argmax()}",
            )
        stripped = [line.strip() for line in lines]
        empty += stripped.count("")
        repeats.update(line for line in stripped if len(line) >= LONG_LINE)
    every = np.concatenate(lengths)
    filled = every[every > 0] if every.any() else every
    total = repeats.total()
    return Lines(
        count=len(every),
        empty_share=empty / len(every),
        longest=longest,
        longest_at=longest_at,
        percentiles={percentile: int(np.percentile(filled, percentile)) for percentile in PERCENTILES},
        repeated_share=(total - len(repeats)) / total if total else 0.0,
        repeated=[(_shorten(line), count) for line, count in repeats.most_common(EXAMPLES) if count > 1],
    )


def _inspect_words(corpus: Corpus) -> Words:
    one_character = corpus.characters < 2  # which cannot be split
    parts = (corpus.documents, ()) if one_character else split_by_position(corpus.documents, valid_share=0.1)
    train, valid = map(_word_counts, parts)
    unseen = sum(count for word, count in valid.items() if word not in train)
    valid_words = valid.total()
    train.update(valid)
    once = sum(count == 1 for count in train.values())
    return Words(
        count=train.total(),
        distinct=len(train),
        once_share=once / max(len(train), 1),
        unseen_share=unseen / valid_words if valid_words else 0.0,
    )


def _word_counts(documents: Sequence[Document]) -> Counter[str]:
    cutter = WordVocabulary((), split="whitespace")
    counts: Counter[str] = Counter()
    for document in documents:
        for block in blocks(cutter, document.text):
            counts.update(block.split())
    return counts


def _repeated_documents(documents: Sequence[Document]) -> list[tuple[str, str]]:
    """Pair each document that repeats an earlier one, but for case and spaces, with that one: both as file:line."""
    if len(documents) == 1:
        return []
    first: dict[bytes, str] = {}
    repeated = []
    for document in documents:
        where = f"{document.source}:{document.first_line}"
        normal = " ".join(document.text.lower().split())
        digest = blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in first and len(normal) >= LONG_LINE:
            repeated.append((where, first[digest]))
        first.setdefault(digest, where)
    return repeated


def _odd_characters(documents: Sequence[Document], counts: Mapping[str, int]) -> list[CharacterRow]:
    odd = [character for character in counts if _oddity(character, counts)]
    odd.sort(key=lambda character: (-counts[character], character))
    return [_character_row(documents, character, counts) for character in odd[:RAREST]]


def _oddity(character: str, counts: Mapping[str, int]) -> str:
    if character in "\n\t ":
        return ""
    if character == "\ufffd":
        return "stands for a character lost in an earlier conversion"
    category = unicodedata.category(character)
    if category in CATEGORIES:
        return CATEGORIES[category]
    if "\u0300" <= character <= "\u036f":
        return "accent apart from its letter, normalise the text to NFC"
    if PLAIN.get(character) in counts:
        return f"beside the plain {PLAIN[character]}"
    twin = LATIN_TWINS.get(character)
    if twin and counts.get(twin, 0) > TWIN_RATIO * counts[character] and not _writes_script_of(character, counts):
        return f"looks like the Latin {twin}"
    return ""


def _writes_script_of(twin: str, counts: Mapping[str, int]) -> bool:
    """Tell whether letters of a twin's alphabet occur that no Latin one looks like: then the twin is meant."""
    script = unicodedata.name(twin).split()[0]
    return any(unicodedata.name(other, "").startswith(script) for other in counts if other not in LATIN_TWINS)


def _character_row(documents: Sequence[Document], character: str, counts: Mapping[str, int]) -> CharacterRow:
    name = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
    return CharacterRow(
        printable(character), name, counts[character], _first_place(documents, character), _oddity(character, counts)
    )


def _first_place(documents: Sequence[Document], character: str) -> str:
    for document in documents:
        place = document.text.find(character)
        if place >= 0:
            line = document.first_line + document.text.count("\n", 0, place)
            return f"{document.source}:{line}"
    raise AssertionError("called for a character that occurs")


def _suggest(texts: Sequence[str], *, text_bytes: int, alphabet: int, characters: int) -> Suggestion:
    valid_share = round(min(0.1, max(0.005, VALID_CHARACTERS / characters)), 3)
    size = suggested_subword_size(text_bytes)
    if is_tokenised(texts) and any("<unk>" in text for text in texts):
        return Suggestion("word", None, "the text is tokenised and its rare words are <unk> already", valid_share)
    if text_bytes >= SMALL_TEXT_BYTES:
        reason = f"{text_bytes / 1e6:.0f} MB is enough to learn {size:,} pieces; a step then covers several characters"
        return Suggestion("bpe", size, reason, valid_share)
    if alphabet > HUGE_ALPHABET:
        reason = f"{alphabet:,} distinct characters are too many to learn from {text_bytes / 1e6:.1f} MB"
        return Suggestion("byte", None, reason, valid_share)
    reason = f"{text_bytes / 1e6:.1f} MB is too little to learn words from, and {alphabet} characters are few"
    return Suggestion("character", None, reason, valid_share)


def _warnings(
    corpus: Corpus, *, lines: Lines, words: Words, odd: Sequence[CharacterRow], repeated_documents: int
) -> list[str]:
    warnings = corpus.notes()
    warnings += [f"{row.first}: {row.name}, {row.count:,}x: {row.odd}." for row in odd]
    if corpus.characters < 100_000:
        warnings.append(f"{corpus.characters:,} characters are few: a model will know them by heart within minutes.")
    if lines.longest > 10_000:
        warnings.append(f"{lines.longest_at}: a line of {lines.longest:,} characters; are the line ends lost?")
    if lines.repeated_share > 0.1:
        warnings.append(
            f"{lines.repeated_share:.0%} of the long lines repeat an earlier one: headers, menus or copies?"
        )
    if repeated_documents:
        warnings.append(f"{repeated_documents:,} documents repeat an earlier one: validation on a copy looks too good.")
    if words.unseen_share > 0.1:
        warnings.append(f"{words.unseen_share:.0%} of the words at the end are new: a word vocabulary would miss them.")
    return warnings


def _recommendations(
    corpus: Corpus, suggestion: Suggestion, *, odd: Sequence[CharacterRow], lines: Lines, repeated_documents: int
) -> list[str]:
    todo = []
    if any(file.bad_bytes for file in corpus.files):
        todo.append("Convert the file with bad bytes to UTF-8: iconv -f ENCODING -t UTF-8.")
    if odd:
        todo.append("Replace the odd characters by plain ones, unless the model shall write them.")
    if lines.repeated_share > 0.1 or repeated_documents:
        todo.append("Remove the repeated lines and documents.")
    size = f" of {suggestion.vocabulary_size:,} pieces" if suggestion.vocabulary_size else ""
    todo.append(f"Train with the {suggestion.vocabulary} vocabulary{size}: {suggestion.reason}.")
    todo.append(f"Keep the last {suggestion.valid_share:.1%} for validation.")
    return todo


def _utf8_bytes(character: str) -> int:
    return len(character.encode("utf-8", "surrogatepass"))


def _file_value(file: FileReport) -> str:
    bad = f"{file.bad_bytes:,} bad bytes" if file.bad_bytes else "no bad bytes"
    ends = f"{file.carriage_returns:,} carriage returns" if file.carriage_returns else "line ends LF"
    return f"{file.bytes:,} bytes, {file.encoding}, {bad}, {ends}"


def _row(row: CharacterRow) -> tuple[str, str]:
    odd = f" ({row.odd})" if row.odd else ""
    return row.character, f"{row.count:,}x, first {row.first}: {row.name}{odd}"


def _shorten(line: str) -> str:
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
