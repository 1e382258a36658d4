"""The data doctor: what a text holds, what is wrong with it, and how to train on it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from rnnkit.data.characters import CharacterRow, character_rows, oddity
from rnnkit.data.documents import VALID_CHARACTERS, Blocks
from rnnkit.data.readers import Corpus, Document, FileReport, split_by_position
from rnnkit.data.subwords import suggested_subword_size
from rnnkit.data.tally import Tally
from rnnkit.data.vocabulary import character_counts, is_tokenised

RAREST = 12  # characters listed
EXAMPLES = 3  # repeated lines and documents shown
SHOWN_CHARACTERS = 60  # of an example
HELD_CHARACTERS = 1_000_000  # of a line whose end is not in sight
LONGEST_WORD = 100  # what is beyond tells no words apart
LONG_LINE = 20  # shorter lines repeat by nature, as the names in a play
SMALL_TEXT_BYTES = 5_000_000
HUGE_ALPHABET = 1000
PERCENTILES = (50, 90, 99)


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

    `once_share` is of the distinct words, `unseen_share` of the words kept for validation that the rest lacks.
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
                    ("unseen", f"{words.unseen_share:.1%} of those kept for validation are not in the rest"),
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
    texts = Blocks(corpus.documents)
    counts = character_counts(texts)
    text_bytes = sum(count * _utf8_bytes(character) for character, count in counts.items())
    lines = _inspect_lines(corpus.documents)
    words = _inspect_words(corpus)
    by_count = sorted(counts, key=lambda character: (counts[character], character))
    strange = sorted((c for c in counts if oddity(c, counts)), key=lambda character: (-counts[character], character))
    odd = character_rows(corpus.documents, strange[:RAREST], counts)
    repeated, num_repeated = _repeated_documents(corpus.documents)
    suggestion = _suggest(texts, text_bytes=text_bytes, alphabet=len(counts), characters=corpus.characters)
    warnings = _warnings(corpus, lines=lines, words=words, odd=odd, repeated_documents=num_repeated)
    return TextInspection(
        files=corpus.files,
        documents=len(corpus.documents),
        characters=corpus.characters,
        bytes=text_bytes,
        distinct_characters=len(counts),
        rarest=character_rows(corpus.documents, by_count[:RAREST], counts),
        odd=odd,
        lines=lines,
        words=words,
        repeated_documents=repeated,
        suggestion=suggestion,
        warnings=warnings,
        recommendations=_recommendations(corpus, suggestion, odd=odd, lines=lines, repeated_documents=num_repeated),
    )


def _inspect_lines(documents: Sequence[Document]) -> Lines:
    lengths: Counter[int] = Counter()
    longest, longest_at, empty = -1, "", 0
    repeats = Tally()
    for document in documents:
        first_line = document.first_line
        for lines, before in _lines(document):
            of_block = list(map(len, lines))
            of_block[0] += before
            lengths.update(of_block)
            if max(of_block) > longest:
                longest = max(of_block)
                longest_at = f"{document.source}:{first_line + of_block.index(longest)}"
            stripped = [line.strip() for line in lines]
            empty += stripped.count("")
            repeats.add(_key(line) for line in stripped if len(line) >= LONG_LINE)
            first_line += len(lines)
    total = repeats.counts.total()
    return Lines(
        count=lengths.total(),
        empty_share=empty / lengths.total(),
        longest=longest,
        longest_at=longest_at,
        percentiles=_percentiles(lengths),
        repeated_share=(total - len(repeats.counts)) / total if total else 0.0,
        repeated=[(key.split("\0")[0], count) for key, count in repeats.counts.most_common(EXAMPLES) if count > 1],
    )


def _lines(document: Document) -> Iterator[tuple[list[str], int]]:
    """Yield a document's lines, some at a time, and how many characters at the start of the first are left out."""
    rest, before, none = "", 0, True
    for block in document.blocks():
        *lines, rest = (rest + block).split("\n")
        if lines:
            yield lines, before
            before, none = 0, False
        if len(rest) > HELD_CHARACTERS:
            rest, before = "", before + len(rest)
    if rest or before or none:
        yield [rest], before


def _key(line: str) -> str:
    """Return a line, or for a long one its beginning as it is shown, and a hash: a large text has many."""
    if len(line) <= SHOWN_CHARACTERS:
        return line
    digest = blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{line[: SHOWN_CHARACTERS - 1]}…\0{digest}"


def _percentiles(lengths: Mapping[int, int]) -> dict[int, int]:
    """Return the lengths at PERCENTILES of the lines that are not empty, between two lines by their distance."""
    values = np.array(sorted(length for length in lengths if length) or [0])
    ends = np.cumsum([lengths[int(value)] for value in values])
    places = np.array(PERCENTILES) / 100 * (ends[-1] - 1)
    low, high = (values[np.searchsorted(ends, place, "right")] for place in (np.floor(places), np.ceil(places)))
    return dict(zip(PERCENTILES, (low + (high - low) * (places % 1)).astype(int).tolist(), strict=True))


def _inspect_words(corpus: Corpus) -> Words:
    one_character = corpus.characters < 2  # which cannot be split
    parts = (corpus.documents, ()) if one_character else split_by_position(corpus.documents, valid_share=0.1)
    train, valid = map(_word_counts, parts)
    comparable = {word: count for word, count in valid.counts.items() if train.samples(word)}
    unseen = sum(count for word, count in comparable.items() if word not in train.counts)
    train.add(valid.counts)
    once = sum(count == 1 for count in train.counts.values())
    return Words(
        count=train.total,
        distinct=train.distinct,
        once_share=once / max(len(train.counts), 1),
        unseen_share=unseen / sum(comparable.values()) if comparable else 0.0,
    )


def _word_counts(documents: Sequence[Document]) -> Tally:
    words = Tally()
    for block in Blocks(documents):
        words.add(word[:LONGEST_WORD] for word in block.split())
    return words


def _repeated_documents(documents: Sequence[Document]) -> tuple[list[tuple[str, str]], int]:
    """Find documents that repeat an earlier one, but for case and spaces: EXAMPLES with that one, and the number."""
    if len(documents) == 1:
        return [], 0
    hashes = np.fromiter(map(_hash, documents), np.uint64, len(documents))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    repeated = np.flatnonzero((first[inverse] < np.arange(len(hashes))) & (hashes != 0))
    pairs = [(documents[int(index)], documents[int(first[inverse[index]])]) for index in repeated[:EXAMPLES]]
    return [(_place(one), _place(other)) for one, other in pairs], len(repeated)


def _hash(document: Document) -> int:
    """Hash a document's words; 0 for one too short to compare."""
    digest, characters = blake2b(digest_size=8), 0
    for block in document.blocks():
        normal = " ".join(block.lower().split()) + " "
        characters += len(normal)
        digest.update(normal.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()) if characters > LONG_LINE else 0


def _place(document: Document) -> str:
    return f"{document.source}:{document.first_line}"


def _suggest(texts: Iterable[str], *, text_bytes: int, alphabet: int, characters: int) -> Suggestion:
    valid_share = round(min(0.1, max(0.001, VALID_CHARACTERS / characters)), 3)
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
