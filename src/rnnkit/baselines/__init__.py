"""The simple models that a trained one is always printed beside."""

from rnnkit.baselines.ngram import NGram, default_order
from rnnkit.baselines.tfidf import TfidfLogistic

__all__ = ["NGram", "TfidfLogistic", "default_order"]
