"""Weights as the C++ kernels take them."""

from __future__ import annotations

import torch
from torch import Tensor


def as_float(weight: Tensor | None) -> Tensor | None:
    """Return a weight as contiguous float32; None stays None."""
    return None if weight is None else weight.detach().float().contiguous()


def address(tensor: Tensor | None) -> int:
    """Return where a tensor's numbers stand, which must live as long as they are read; 0 is none."""
    return 0 if tensor is None else tensor.data_ptr()


def is_native(weight: Tensor) -> bool:
    """Say whether a weight is what the C++ kernels take, float32 on the CPU."""
    return weight.dtype == torch.float32 and weight.device.type == "cpu"
