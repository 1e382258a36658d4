"""What forecasts know at their origins, as tensors: what a head is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rnnkit.tasks.forecasting.windows import Ahead, Views


def placed(ahead: Ahead[Any], device: torch.device | None = None) -> Ahead[Tensor]:
    """Put arrays on a device; None is the CPU."""
    return Ahead(**{name: torch.from_numpy(part).to(device) for name, part in vars(ahead).items()})


def apart(views: Views, together: Tensor) -> Ahead[Tensor]:
    """Return what `joined` put in rows, (origins, size)."""
    horizon, lags = views.lags.horizon, views.lags.behind.shape[1]
    sizes = [horizon * views.known_size, horizon * lags, views.recent, 2 * len(views.columns), horizon, 2, 1]
    known, lagged, recent, beside, targets, scale, weights = together.split(sizes, dim=1)
    return Ahead(
        torch.unflatten(known, 1, (horizon, views.known_size)),
        torch.unflatten(lagged, 1, (horizon, lags)),
        recent,
        beside,
        targets,
        scale,
        weights[:, 0],
    )
