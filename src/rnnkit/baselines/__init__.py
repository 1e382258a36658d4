"""The simple models that a trained one is always printed beside."""

from rnnkit.baselines.neighbours import NearestSeries
from rnnkit.baselines.ngram import NGram, default_order
from rnnkit.baselines.tfidf import TfidfLogistic

__all__ = ["NGram", "NearestSeries", "TfidfLogistic", "default_order"]
