"""Exported models run without torch: onnxruntime and numpy, greedy decoding and Viterbi's."""

from rnnkit.runner.base import Runner
from rnnkit.runner.table import load

__all__ = ["Runner", "load"]
