"""Speed on the machine at hand, beside named rivals."""

from rnnkit.benchmarking.kernels import OURS, TABLES, Case, Row, measure
from rnnkit.benchmarking.timing import Timing, interleave

__all__ = ["OURS", "TABLES", "Case", "Row", "Timing", "interleave", "measure"]
