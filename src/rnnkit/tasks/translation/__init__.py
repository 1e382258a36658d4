"""Translation: pairs of sentences to learn from, and a search for the likeliest translation of a new one."""

from typing import TYPE_CHECKING

from rnnkit.lazy import lazily

if TYPE_CHECKING:
    from rnnkit.tasks.translation.config import TranslationConfig
    from rnnkit.tasks.translation.results import Alignment, Alternative, Translation
    from rnnkit.tasks.translation.task import Translator

__all__ = ["Alignment", "Alternative", "Translation", "TranslationConfig", "Translator"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ("TranslationConfig",),
        ".results": (
            "Alignment",
            "Alternative",
            "Translation",
        ),
        ".task": ("Translator",),
    },
)
