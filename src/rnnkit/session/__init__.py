"""Stacks with weights packed once: a session that keeps its state, and what reads batches of others' states."""

from rnnkit.session.packing import MOST_ROWS, PackedStack, Packing, pack
from rnnkit.session.session import Session
from rnnkit.session.weights import address, as_float, is_native

__all__ = ["MOST_ROWS", "PackedStack", "Packing", "Session", "address", "as_float", "is_native", "pack"]
