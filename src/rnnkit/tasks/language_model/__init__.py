"""Language modelling: predict the next token, score text, write it, follow it live."""

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
