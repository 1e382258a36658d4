"""The simple models that a trained one is always printed beside."""

from rnnkit.baselines.ngram import NGram, default_order

__all__ = ["NGram", "default_order"]
