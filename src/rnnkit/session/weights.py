"""Weights as the C++ kernels take them."""

from __future__ import annotations

from torch import Tensor


def as_float(weight: Tensor | None) -> Tensor | None:
    """Return a weight as contiguous float32; None stays None."""
    return None if weight is None else weight.detach().float().contiguous()


def address(tensor: Tensor | None) -> int:
    """Return where a tensor's numbers stand, which must live as long as they are read; 0 is none."""
    return 0 if tensor is None else tensor.data_ptr()
