"""Words and their times as the captions that players of films read."""

from __future__ import annotations

from collections.abc import Sequence

from rnnkit.tasks.speech import SpokenWord

MOST_CHARACTERS, MOST_SECONDS = 84, 6.0  # of a caption: two lines of 42
PAUSE_SECONDS = 0.8  # that ends one


def caption_file(words: Sequence[SpokenWord], *, webvtt: bool) -> str:
    """Write a file of captions.

    Args:
        words: In order.
        webvtt: Whether as WebVTT, else as SubRip.

    Returns:
        Its content.
    """
    sign, blocks = "." if webvtt else ",", []
    for number, caption in enumerate(captions(words), start=1):
        times = f"{_clock(caption[0].start, sign)} --> {_clock(caption[-1].end, sign)}"
        text = " ".join(word.text for word in caption)
        if webvtt:
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{number}\n{times}\n{text}\n")
    return "\n".join(["WEBVTT\n", *blocks] if webvtt else blocks)


def captions(words: Sequence[SpokenWord]) -> list[list[SpokenWord]]:
    """Group words into captions that can be read: no pause within, not too long."""
    groups: list[list[SpokenWord]] = []
    for word in words:
        group = groups[-1] if groups else []
        characters = sum(len(one.text) + 1 for one in group) + len(word.text)
        fits = group and characters <= MOST_CHARACTERS and word.end - group[0].start <= MOST_SECONDS
        if fits and word.start - group[-1].end < PAUSE_SECONDS:
            group.append(word)
        else:
            groups.append([word])
    return groups


def _clock(seconds: float, sign: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{sign}{rest % 1000:03}"
