"""Where words begin and end in a raw text, as they do in the text that a tagger was trained on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

from rnnkit.data.vocabulary import inside_word

LEAST_SEEN = 2  # what occurs once may be a slip
MOST_KEPT = 500  # each is looked for at every character
ADDRESS = r"(?:https?://|www\.)\S*[\w/]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
INITIALS = r"(?:[^\W\d_]\.){2,}"
REPEATED_MARK = r"([.!?\-*_=~])\1+"
CLITIC = re.compile(r"(?:['’][^\W\d_]{1,3}|n['’]t)", re.IGNORECASE)
MENTION = re.compile(r"[@#]\w+")
HYPHENED = re.compile(r"[^\W\d_]+-[^\W\d_]+")


@dataclass(frozen=True)
class WordRules:
    """How words are told apart; `learn` finds out how a tokenised text does it.

    Attributes:
        clitics: Endings that stand alone, in small letters, as 's and n't.
        kept: Words with marks in them that stay whole, as Mr. or AT&T.
        mentions: Whether @name and #topic are one word.
        hyphens: Whether a well-known word stays whole.
    """

    clitics: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    mentions: bool = False
    hyphens: bool = True

    @classmethod
    def learn(cls, words: Iterable[str]) -> Self:
        """See how a tokenised text tells words apart.

        Args:
            words: Of the text.

        Returns:
            The rules.
        """
        counts = Counter(words)
        often = {word: count for word, count in counts.items() if count >= LEAST_SEEN}
        clitics = sorted({word.lower() for word in often if CLITIC.fullmatch(word)}, key=lambda one: (-len(one), one))
        whole = sum(count for word, count in counts.items() if MENTION.fullmatch(word))
        alone = counts["@"] + counts["#"]
        hyphened = sum(count for word, count in counts.items() if HYPHENED.fullmatch(word))
        rules = cls(tuple(clitics), (), whole > alone, hyphened >= counts["-"])
        frequent = sorted(often, key=lambda word: (-often[word], word))
        cut = [word for word in frequent if len(rules.split(word)) > 1 and not any(map(str.isspace, word))]
        return replace(rules, kept=tuple(cut[:MOST_KEPT]))

    def split(self, text: str) -> list[tuple[int, int]]:
        """Find the words of a text; what stands between spaces is split on its own, so that a stream can do it too.

        Args:
            text: Any.

        Returns:
            Where each word begins and ends, in characters.
        """
        words: list[tuple[int, int]] = []
        for found in self._pattern.finditer(text):
            words += self._without_clitics(text, *found.span())
        return words

    def _without_clitics(self, text: str, start: int, end: int) -> Sequence[tuple[int, int]]:
        if text[start:end] in self.kept:
            return ((start, end),)
        word = text[start:end].lower()
        for clitic in self.clitics:
            plain = word.replace("’", "'")
            if plain.endswith(clitic.replace("’", "'")) and len(word) > len(clitic):
                return (start, end - len(clitic)), (end - len(clitic), end)
        return ((start, end),)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        inside = inside_word()
        joints = "['’\\-]" if self.hyphens else "['’]"
        kept = [_bounded(word) for word in sorted(self.kept, key=len, reverse=True)]
        parts = [
            ADDRESS,
            *([rf"[@#](?:{inside}|_)+"] if self.mentions else []),
            INITIALS,
            *kept,
            rf"{inside}+(?:{joints}{inside}+|(?<=[0-9])[.,:/](?=[0-9]){inside}+)*",
            *([rf"['’](?:{self._bare_clitics})(?!{inside})"] if self._bare_clitics else []),
            REPEATED_MARK.replace("(", "(?P<mark>", 1).replace(r"\1", "(?P=mark)"),
            r"\S",
        ]
        return re.compile("|".join(parts))

    @property
    def _bare_clitics(self) -> str:
        return "|".join(re.escape(one[1:]) for one in self.clitics if one[0] in "'’")

    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the rules, JSON-able; `from_dict` takes it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        """Rebuild rules from `to_dict`."""
        lists = {name: tuple(map(str, saved[name])) for name in ("clitics", "kept")}
        return cls(**lists, mentions=bool(saved["mentions"]), hyphens=bool(saved["hyphens"]))


def _bounded(word: str) -> str:
    """Match a word where it is not a part of a longer one."""
    inside = inside_word()
    before = rf"(?<!{inside})" if word[0].isalnum() else ""
    after = rf"(?!{inside})" if word[-1].isalnum() or word[-1] == "." else ""
    return before + re.escape(word) + after
