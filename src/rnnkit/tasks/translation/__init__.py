"""Translation: pairs of sentences to learn from, and a search for the likeliest translation of a new one."""

from rnnkit.tasks.translation.config import TranslationConfig
from rnnkit.tasks.translation.results import Alignment, Alternative, Translation
from rnnkit.tasks.translation.task import Translator

__all__ = ["Alignment", "Alternative", "Translation", "TranslationConfig", "Translator"]
