"""Language modelling: predict the next token, score text, write it, follow it live."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.config import LanguageModelConfig
    from rnnkit.tasks.language_model.overlap import Overlap, training_overlap, training_tokens
    from rnnkit.tasks.language_model.results import Candidate, TextScore, TokenEvent, TokenScore, WrittenToken
    from rnnkit.tasks.language_model.stream import LanguageStream
    from rnnkit.tasks.language_model.task import LanguageModel
    from rnnkit.tasks.language_model.writing import Writing

__all__ = [
    "Candidate",
    "LanguageModel",
    "LanguageModelConfig",
    "LanguageStream",
    "Overlap",
    "TextScore",
    "TokenEvent",
    "TokenScore",
    "Writing",
    "WrittenToken",
    "training_overlap",
    "training_tokens",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("LanguageModelConfig",),
        ".overlap": (
            "Overlap",
            "training_overlap",
            "training_tokens",
        ),
        ".results": (
            "Candidate",
            "TextScore",
            "TokenEvent",
            "TokenScore",
            "WrittenToken",
        ),
        ".stream": ("LanguageStream",),
        ".task": ("LanguageModel",),
        ".writing": ("Writing",),
    },
)
