"""Count strings in bounded memory."""

import zlib
from collections import Counter
from collections.abc import Iterable

MOST_DISTINCT = 500_000


class Tally:
    """Counts of strings: of all, or, where more than MOST_DISTINCT are distinct, of an even sample of those.

    A string that is in the sample is counted exactly, so that shares and ratios are estimated without bias.

    Attributes:
        counts: Of the strings in the sample.
        total: Strings added, in the sample or not.

    Example:
        >>> tally = Tally()
        >>> tally.add(["to", "be", "or", "not", "to", "be"])
        >>> tally.counts["be"], tally.total, tally.distinct
        (2, 6, 4)
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.total = 0
        self._halvings = 0

    @property
    def distinct(self) -> int:
        """How many strings are distinct; about, where only a sample is counted."""
        return len(self.counts) << self._halvings

    def add(self, strings: Iterable[str]) -> None:
        """Count some more; a mapping gives how often each occurs."""
        found = Counter(strings)
        self.total += found.total()
        self.counts.update(self._sampled(found))
        while len(self.counts) > MOST_DISTINCT:
            self._halvings += 1
            self.counts = self._sampled(self.counts)

    def samples(self, string: str) -> bool:
        """Tell whether a string is counted if it occurs."""
        return zlib.crc32(string.encode("utf-8", "surrogatepass")) & ((1 << self._halvings) - 1) == 0

    def _sampled(self, counts: Counter[str]) -> Counter[str]:
        if not self._halvings:
            return counts
        return Counter({string: count for string, count in counts.items() if self.samples(string)})
