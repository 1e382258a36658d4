"""Padded batches of sequences: (batch, time, ...) values beside (batch,) lengths; masks are made where used."""

import torch
from torch import Tensor

from rnnkit.errors import ShapeError


def check_lengths(lengths: Tensor, *, batch: int, time: int) -> Tensor:
    """Return `lengths` as int64 after checking them against the batch they describe.

    Args:
        lengths: (batch,) whole numbers in [0, time].
        batch: Number of sequences.
        time: Padded number of steps.

    Returns:
        (batch,) int64.

    Raises:
        ShapeError: If there is not one length a sequence, or one is negative or longer than `time`.
    """
    if lengths.shape != (batch,) or lengths.is_floating_point():
        raise ShapeError(
            f"lengths are {lengths.dtype} {tuple(lengths.shape)}; expected whole numbers ({batch},), one a sequence"
        )
    if batch and not torch.compiler.is_compiling() and (int(lengths.min()) < 0 or int(lengths.max()) > time):
        raise ShapeError(
            f"lengths run from {int(lengths.min())} to {int(lengths.max())}; expected 0 to {time}, the steps given"
        )
    return lengths.to(torch.int64)


def valid_mask(lengths: Tensor, time: int) -> Tensor:
    """Mark the steps before each sequence's end.

    Args:
        lengths: (batch,).
        time: Padded number of steps.

    Returns:
        (batch, time) bool.
    """
    return torch.arange(time, device=lengths.device) < lengths[:, None]  # (batch, time)


def zero_padding(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Replace whatever stands past each length (NaN too) by 0, so that it reaches neither results nor gradients.

    Args:
        values: (batch, time, size).
        lengths: (batch,); None means that all steps are valid.

    Returns:
        (batch, time, size).
    """
    if lengths is None:
        return values
    mask = valid_mask(lengths, values.shape[1])
    return torch.where(mask[..., None], values, values.new_zeros(()))


def reverse_within_lengths(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the valid steps of each sequence; padding stays at the end. Its own inverse.

    Args:
        values: (batch, time, size).
        lengths: (batch,); None means that all steps are valid.

    Returns:
        (batch, time, size).
    """
    if lengths is None:
        return values.flip(1)
    time = values.shape[1]
    steps = torch.arange(time, device=values.device).expand(values.shape[0], time)
    mirrored = lengths[:, None] - 1 - steps
    source = torch.where(mirrored >= 0, mirrored, steps)  # (batch, time)
    return values.gather(1, source[..., None].expand_as(values))


def slide_window(window: Tensor, inputs: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Put the inputs behind those that came before, and keep the last of them for what follows.

    Args:
        window: (batch, reach, size), the inputs before the first step.
        inputs: (batch, time, size).
        lengths: (batch,) valid steps; None means all of them.

    Returns:
        (batch, reach + time, size), and the window after each row's last valid step, (batch, reach, size).
    """
    (batch, time, size), reach = inputs.shape, window.shape[1]
    joined = torch.cat([window, inputs], dim=1)
    if lengths is None:
        return joined, joined[:, time:]
    places = lengths[:, None] + torch.arange(reach, device=inputs.device)  # (batch, reach) of `joined`
    return joined, joined.gather(1, places[..., None].expand(batch, reach, size))
