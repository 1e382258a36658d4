"""From the outputs of all steps to one vector a sequence, whole or as the sequence grows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.sequences import valid_mask, zero_padding

POOLINGS = ("last", "mean", "max", "attention", "concat")
SCORE_LIMIT = 20.0  # of an attention score: sums of e**20 and e**-20 stay exact enough without a running maximum


class Pooling(nn.Module):
    """Pool the valid steps of each sequence.

    - last: the output of the last step; of the two directions of a bidirectional stack, that of each one's own last.
    - mean, max: over the steps, unit by unit.
    - attention: the mean weighted by e**s, s = 20 tanh(v' tanh(W h + b) / 20) (Yang et al. 2016, the scores bounded).
    - concat: last, mean and max side by side (Howard and Ruder 2018).

    A sequence of no steps gives zeros.

    Args:
        kind: One of POOLINGS.
        size: Features of a step.
        bidirectional: Whether the second half of the features comes from the reverse direction.

    Raises:
        ConfigError: If the kind is unknown.

    Example:
        >>> import torch
        >>> outputs = torch.tensor([[[1.0, 5.0], [3.0, 1.0], [9.0, 9.0]]])
        >>> Pooling("max", 2)(outputs, torch.tensor([2])).tolist()
        [[3.0, 5.0]]
    """

    def __init__(
        self,
        kind: Literal["last", "mean", "max", "attention", "concat"],
        size: int,
        *,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ConfigError(f"pooling is {kind!r}; expected one of {', '.join(POOLINGS)}")
        self.kind, self.size, self.bidirectional = kind, size, bidirectional
        self.output_size = 3 * size if kind == "concat" else size
        scores = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))
        self.score = scores if kind == "attention" else None

    def forward(self, outputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pool whole sequences.

        Args:
            outputs: (batch, time, size).
            lengths: (batch,) valid steps; None means all of them.

        Returns:
            (batch, output_size).
        """
        batch, time = outputs.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), time, device=outputs.device)
        outputs = zero_padding(outputs, lengths)
        match self.kind:
            case "last":
                return self._last(outputs, lengths)
            case "mean":
                return _mean(outputs, lengths)
            case "max":
                return _max(outputs, lengths)
            case "attention":
                weights = self._weights(outputs) * valid_mask(lengths, time)[..., None]  # (batch, time, 1)
                return (weights * outputs).sum(1) / weights.sum(1).clamp_min(torch.finfo(outputs.dtype).tiny)
        return torch.cat([self._last(outputs, lengths), _mean(outputs, lengths), _max(outputs, lengths)], dim=1)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state of `running`."""
        names = {"last": (), "mean": ("count", "sum"), "max": ("max",), "attention": ("weight", "sum")}
        return names.get(self.kind, ("count", "sum", "max"))

    def initial_state(self, batch: int, *, like: Tensor) -> State:
        """Return the state before the first step: (batch, 1) or (batch, size) for each of `state_names`."""
        lowest = torch.finfo(like.dtype).min
        parts = {"sum": like.new_zeros(batch, self.size), "max": like.new_full((batch, self.size), lowest)}
        return tuple(parts.get(name, like.new_zeros(batch, 1)) for name in self.state_names)

    def running(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Pool every beginning of the sequences: step t holds what `forward` gives for the steps up to it.

        Args:
            outputs: (batch, time, size), all of them valid, of one direction.
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, time, output_size), and the state after the last step.
        """
        before = dict(zip(self.state_names, state, strict=True))
        pooled: dict[str, Tensor] = {}
        if self.kind in ("mean", "concat"):
            count = before["count"][:, None] + torch.arange(1, outputs.shape[1] + 1, device=outputs.device)[:, None]
            total = before["sum"][:, None] + outputs.cumsum(1)
            pooled |= {"count": count, "sum": total, "mean": total / count}
        if self.kind in ("max", "concat"):
            joined = torch.cat([before["max"][:, None], outputs], dim=1)
            pooled["max"] = joined.cummax(1).values[:, 1:]
        if self.kind == "attention":
            weights = self._weights(outputs)
            pooled["weight"] = before["weight"][:, None] + weights.cumsum(1)
            pooled["sum"] = before["sum"][:, None] + (weights * outputs).cumsum(1)
            pooled["attention"] = pooled["sum"] / pooled["weight"]
        pooled["last"] = outputs
        after = tuple(
            pooled[name][:, -1] if outputs.shape[1] else part
            for name, part in zip(self.state_names, state, strict=True)
        )
        kinds = ("last", "mean", "max") if self.kind == "concat" else (self.kind,)
        return torch.cat([pooled[kind] for kind in kinds], dim=2), after

    def extra_repr(self) -> str:
        """Return the kind, for printing."""
        return self.kind

    def _weights(self, outputs: Tensor) -> Tensor:
        assert self.score is not None
        return torch.exp(SCORE_LIMIT * torch.tanh(self.score(outputs) / SCORE_LIMIT))  # (batch, time, 1)

    def _last(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        place = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, 1, self.size)
        last = outputs.gather(1, place)[:, 0]  # (batch, size)
        if not self.bidirectional:
            return last
        half = self.size // 2  # the reverse direction ends at the first step
        return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1)


def _mean(outputs: Tensor, lengths: Tensor) -> Tensor:
    return outputs.sum(1) / lengths.clamp_min(1)[:, None]


def _max(outputs: Tensor, lengths: Tensor) -> Tensor:
    mask = valid_mask(lengths, outputs.shape[1])[..., None]
    highest = outputs.masked_fill(~mask, torch.finfo(outputs.dtype).min).amax(1)
    return torch.where(lengths[:, None] > 0, highest, 0.0)
