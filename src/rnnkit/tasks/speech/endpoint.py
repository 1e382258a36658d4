"""When a stream's text is final: after silence, or when it grows too long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rnnkit.errors import ConfigError


@dataclass(frozen=True)
class Endpoints:
    """The rules; a time of infinity switches one off.

    Example:
        >>> Endpoints(silence_seconds=0.8).ends(2.0, since_word=0.9, said=True, quiet=True)
        'silence'
    """

    silence_seconds: float = 1.2
    """A segment ends when nothing was said for so long after a word."""
    empty_seconds: float = 2.4
    """A segment in which nothing is said begins anew after so long."""
    longest_seconds: float = 20.0
    """A segment that is so long ends as soon as no token is being said."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name in ("silence_seconds", "empty_seconds", "longest_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected more than 0")

    def ends(self, seconds: float, *, since_word: float, said: bool, quiet: bool) -> str | None:
        """Say why a segment ends here; None where it goes on.

        Args:
            seconds: Since its beginning.
            since_word: Seconds since the last token of its likeliest text.
            said: Whether that has a token.
            quiet: Whether none is being said.

        Returns:
            "silence" or "length".
        """
        if said and since_word >= self.silence_seconds:
            return "silence"
        if not said and seconds >= self.empty_seconds:
            return "silence"
        return "length" if seconds >= self.longest_seconds and quiet else None


NEVER = Endpoints(math.inf, math.inf, math.inf)
