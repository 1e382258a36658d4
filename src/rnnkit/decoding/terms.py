"""Terms that a decoded sequence must hold: how far each hypothesis has come with them, and who may stay in the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Progress:
    """How far a hypothesis has come.

    Attributes:
        missing: Terms that have not been written.
        inside: The one being written, and how many of its tokens are.
    """

    missing: tuple[Tokens, ...]
    inside: tuple[Tokens, int] | None = None

    @classmethod
    def begin(cls, terms: Sequence[Sequence[int]]) -> Progress:
        """Return the progress of a hypothesis that has written nothing."""
        return cls(tuple(tuple(term) for term in terms if len(term)))

    @property
    def left(self) -> int:
        """How many tokens are still to be written."""
        return sum(map(len, self.missing)) - (self.inside[1] if self.inside else 0)

    def wanted(self) -> list[int]:
        """Return the tokens that would bring it on."""
        if self.inside is not None:
            term, written = self.inside
            return [term[written]]
        return list(dict.fromkeys(term[0] for term in self.missing))

    def after(self, token: int) -> Progress:
        """Return the progress after one more token; a term that is broken off counts for nothing."""
        if self.inside is not None:
            term, written = self.inside
            if term[written] == token:
                return self._written(term, written + 1)
        begun = next((term for term in self.missing if term[0] == token), None)
        return Progress(self.missing) if begun is None else self._written(begun, 1)

    def _written(self, term: Tokens, count: int) -> Progress:
        if count < len(term):
            return Progress(self.missing, (term, count))
        place = self.missing.index(term)
        return Progress(self.missing[:place] + self.missing[place + 1 :])


def share_beam(lefts: Sequence[int], size: int) -> list[int]:
    """Choose who stays in a beam so that hypotheses of every progress do (Post and Vilar 2018).

    Args:
        lefts: Tokens still to be written of each candidate, the best candidate first.
        size: Of the beam.

    Returns:
        Which candidates stay, the best first; those of each progress have an equal share of the beam, and what is left
        over goes to the best of the others.
    """
    banks: dict[int, list[int]] = {}
    for place, left in enumerate(lefts):
        banks.setdefault(left, []).append(place)
    share = max(1, size // max(len(banks), 1))
    chosen: list[int] = []
    for left in sorted(banks):  # who has come furthest first
        chosen += banks[left][:share]
    chosen = chosen[:size]
    others = [place for place in range(len(lefts)) if place not in set(chosen)]
    return sorted([*chosen, *others[: size - len(chosen)]])
