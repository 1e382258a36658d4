"""Speech recognition: recordings to text, whole or as they arrive."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.speech.endpoint import Endpoints
    from rnnkit.tasks.speech.results import SpeechEvent, SpokenWord, Transcript
    from rnnkit.tasks.speech.search import Search
    from rnnkit.tasks.speech.stream import SpeechStream
    from rnnkit.tasks.speech.task import SpeechRecognition

__all__ = ["Endpoints", "Search", "SpeechEvent", "SpeechRecognition", "SpeechStream", "SpokenWord", "Transcript"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".endpoint": ("Endpoints",),
        ".results": (
            "SpeechEvent",
            "SpokenWord",
            "Transcript",
        ),
        ".search": ("Search",),
        ".stream": ("SpeechStream",),
        ".task": ("SpeechRecognition",),
    },
)
