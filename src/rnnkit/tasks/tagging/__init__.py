"""Tagging: a tag for every word, as named entities or parts of speech."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.tagging.config import TaggingConfig
    from rnnkit.tasks.tagging.results import Entity, Reading, TagEvent, TaggedText, TaggedWord
    from rnnkit.tasks.tagging.stream import TagStream
    from rnnkit.tasks.tagging.task import Tagging

__all__ = ["Entity", "Reading", "TagEvent", "TagStream", "TaggedText", "TaggedWord", "Tagging", "TaggingConfig"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("TaggingConfig",),
        ".results": (
            "Entity",
            "Reading",
            "TagEvent",
            "TaggedText",
            "TaggedWord",
        ),
        ".stream": ("TagStream",),
        ".task": ("Tagging",),
    },
)
