"""Connectionist temporal classification (Graves et al. 2006) with a guide for the first updates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss, pad

from rnnkit.sequences import valid_mask

GUIDE = 0.8  # of the time at which a token would be said if all took equally long
NEVER = -1e30


def guided_ctc_loss(
    log_probabilities: Tensor,
    steps: Tensor,
    tokens: Tensor,
    counts: Tensor,
    *,
    blank: int,
    guide: float = GUIDE,
    margin: int = 0,
) -> Tensor:
    """Add up the nats of all texts over those ways to say them in which no token comes much too early or at the end.

    Token k of K is not said before guide * (k - 1/2) / K of the steps, and none in the last `margin`, unless there are
    few steps for the text. Where short texts begin with the recording, a network of one direction learns to guess them
    in the first step, before it has heard anything, or to wait for its end, which no live sound has; and plain CTC
    stays there: the alignment that has all the probability gets all the gradient.

    Args:
        log_probabilities: (batch, steps, vocabulary_size).
        steps: (batch,), valid steps of each row.
        tokens: (batch, tokens), none of them the blank.
        counts: (batch,), valid tokens of each row.
        blank: The token that says nothing.
        guide: 0 allows any beginning.
        margin: Steps at the end of each row.

    Returns:
        Scalar; infinite where there are fewer steps than the text needs.

    Example:
        >>> import torch
        >>> rows = torch.zeros(1, 4, 3).log_softmax(-1)
        >>> steps, tokens, counts = torch.tensor([4]), torch.tensor([[2]]), torch.tensor([1])
        >>> plain = guided_ctc_loss(rows, steps, tokens, counts, blank=0, guide=0)  # 10 of 3^4 paths
        >>> guided = guided_ctc_loss(rows, steps, tokens, counts, blank=0)  # 3 of them: from step 2 of 0, 1, 2, 3 on
        >>> [round(81 * float(torch.exp(-loss))) for loss in (plain, guided)]
        [10, 3]
    """
    time, places = log_probabilities.shape[1], torch.arange(tokens.shape[1], device=tokens.device)
    repeated = pad(tokens[:, 1:] == tokens[:, :-1], (1, 0))
    needed = counts + (repeated & valid_mask(counts, len(places))).sum(1)  # with the blanks between equal neighbours
    free = steps - margin < 2 * needed
    end = torch.where(free, steps, steps - margin)[:, None]  # (batch, 1)
    begin = guide * (places + 0.5) / counts.clamp(min=1)[:, None] * end  # (batch, tokens)
    begin = begin.masked_fill(free[:, None], 0)
    classes = torch.where(repeated, 0, places).cummax(1).values  # one for equal neighbours: there CTC needs the blank
    now = torch.arange(time, device=tokens.device)[:, None]
    never = (now < begin.gather(1, classes)[:, None]) | (now >= end[:, None])  # (batch, steps, tokens)
    said = log_probabilities.gather(2, tokens[:, None].expand(-1, time, -1))  # (batch, steps, tokens)
    rows = torch.cat([log_probabilities[..., blank, None], said.masked_fill(never, NEVER)], dim=2)
    leaf = rows.detach().transpose(0, 1).requires_grad_()
    with torch.enable_grad():
        total = ctc_loss(leaf, classes + 1, steps, counts, blank=0, reduction="sum")
    (slope,) = torch.autograd.grad(total, leaf)  # what torch gives is that behind a softmax: probability - occupancy
    occupancy = (leaf.detach().exp() - slope).transpose(0, 1) * valid_mask(steps, time)[..., None]
    return total.detach() - (occupancy * (rows - rows.detach())).sum()
