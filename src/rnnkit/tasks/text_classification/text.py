"""Texts as a classifier's vocabulary takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnkit.tasks.text_classification.config import TextClassificationConfig


def normalise(text: str, config: TextClassificationConfig) -> str:
    """Prepare a text, or a piece of one, for its vocabulary: the same however it is cut."""
    return text.replace("Σ", "σ").lower() if config.lowercase else text
