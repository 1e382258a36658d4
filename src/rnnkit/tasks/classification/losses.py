"""The training losses of classifiers."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def classification_loss(
    scores: Tensor, targets: Tensor, *, weights: Tensor | None, focal_gamma: float, label_smoothing: float
) -> Tensor:
    """Compute the loss of every sequence.

    Args:
        scores: (batch, labels).
        targets: (batch,) label numbers, or (batch, labels) of 0 and 1, where each label is decided on its own.
        weights: (labels,) of the labels; None weighs all the same.
        focal_gamma: Times log (1 - p) is added to the logarithm of the loss (Lin et al. 2017).
        label_smoothing: Share of the probability spread over the labels.

    Returns:
        (batch,) nats; of labels of their own the sum.
    """
    scores = scores.float()
    if targets.dim() == 2:
        wanted = targets.to(scores.dtype)
        smoothed = wanted * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = binary_cross_entropy_with_logits(scores, smoothed, pos_weight=weights, reduction="none")
        if focal_gamma:
            losses = losses * torch.sigmoid(torch.where(targets > 0, -scores, scores)) ** focal_gamma
        return losses.sum(1)
    losses = cross_entropy(scores, targets, reduction="none", label_smoothing=label_smoothing)
    if focal_gamma:
        given = scores.softmax(1).gather(1, targets[:, None])[:, 0]
        losses = losses * (1 - given).clamp_min(0) ** focal_gamma
    return losses if weights is None else losses * weights[targets]
