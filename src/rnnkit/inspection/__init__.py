"""The data doctor: what a user's files hold, what is wrong with them, and what to do before training."""

from rnnkit.inspection.labels import Item, LabelInspection, inspect_labels
from rnnkit.inspection.speech import SpeechInspection, inspect_speech
from rnnkit.inspection.tags import scheme_of, tag_items, tag_notes
from rnnkit.inspection.text import TextInspection, inspect_text

__all__ = [
    "Item",
    "LabelInspection",
    "SpeechInspection",
    "TextInspection",
    "inspect_labels",
    "inspect_speech",
    "inspect_text",
    "scheme_of",
    "tag_items",
    "tag_notes",
]
