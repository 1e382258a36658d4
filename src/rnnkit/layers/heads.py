"""Heads: parts of a layer's units that work side by side."""

MOST_HEADS = 4


def suitable_heads(size: int) -> int:
    """Return the most heads, up to four, that share a number of units evenly."""
    return next(count for count in range(MOST_HEADS, 0, -1) if size % count == 0)
