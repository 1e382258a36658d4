"""Language modelling: predict the next token, score text, write it, follow it live."""

from rnnkit.tasks.language_model.config import LanguageModelConfig
from rnnkit.tasks.language_model.overlap import Overlap, training_overlap, training_tokens
from rnnkit.tasks.language_model.results import Candidate, TextScore, TokenEvent, TokenScore
from rnnkit.tasks.language_model.stream import LanguageStream
from rnnkit.tasks.language_model.task import LanguageModel

__all__ = [
    "Candidate",
    "LanguageModel",
    "LanguageModelConfig",
    "LanguageStream",
    "Overlap",
    "TextScore",
    "TokenEvent",
    "TokenScore",
    "training_overlap",
    "training_tokens",
]
