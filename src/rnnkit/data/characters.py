"""Characters that look odd in a text, and where they stand."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnkit.data.documents import Document
from rnnkit.data.tokens import printable

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


def character_rows(
    documents: Sequence[Document], characters: Sequence[str], counts: Mapping[str, int]
) -> list[CharacterRow]:
    """Describe some characters of a text.

    Args:
        documents: The text.
        characters: Each occurs in it.
        counts: How often each character of the text does.

    Returns:
        A row for each.
    """
    places = _first_places(documents, characters)
    return [
        CharacterRow(
            character=printable(character),
            name=f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip(),
            count=counts[character],
            first=places[character],
            odd=oddity(character, counts),
        )
        for character in characters
    ]


def _first_places(documents: Sequence[Document], characters: Iterable[str]) -> dict[str, str]:
    """Find the file:line where each character, which must occur, occurs first."""
    missing, places = set(characters), {}
    for document in documents:
        line = document.first_line
        for block in document.blocks():
            for character in [character for character in missing if character in block]:
                line_ends = block.count("\n", 0, block.index(character))
                places[character] = f"{document.source}:{line + line_ends}"
            missing -= places.keys()
            line += block.count("\n")
        if not missing:
            break
    return places


def oddity(character: str, counts: Mapping[str, int]) -> str:
    """Say what is odd about a character in a text with these characters; "" if nothing is."""
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
