"""Stacks with weights packed once: a session that keeps its state, and what reads batches of others' states."""

from rnnkit.session.packing import PackedStack, pack
from rnnkit.session.session import Session

__all__ = ["PackedStack", "Session", "pack"]
