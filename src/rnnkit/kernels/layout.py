"""Where the valid steps of a batch stand in the buffers of the native kernels: step by step, without the padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """S sequences in groups, one a thread, each sorted by length; R valid steps, group by group and step by step.

    A buffer of states begins with the S initial ones, so that the R rows after them have their predecessors before
    them. The index tensors are None where a batch is even, and slices do.
    """

    steps: int
    first: Tensor
    """(groups, steps) row of the first sequence at each step."""
    count: Tensor
    """(groups, steps) sequences still going."""
    starts: Tensor
    """(groups,) place of each group's first sequence."""
    sequences: int
    total: int
    order: Tensor | None = None
    """(S,) sequence at each place."""
    rows: Tensor | None = None
    """(R,) sequence * steps + step of each row."""
    before: Tensor | None = None
    """(R,) row of the states' buffer where the state before each row stands."""
    last: Tensor | None = None
    """(S,) row of the states' buffer where each sequence's last state stands, by sequence."""

    def pack(self, padded: Tensor) -> Tensor:
        """Take the valid steps: (sequences, steps, size) -> (R, size)."""
        if self.rows is None:
            return padded.transpose(0, 1).reshape(self.total, padded.shape[2])
        return padded.reshape(-1, padded.shape[2]).index_select(0, self.rows)

    def unpack(self, rows: Tensor) -> Tensor:
        """Put the valid steps into their places: (R, size) -> (sequences, steps, size), 0 past each length."""
        shape = (self.sequences, self.steps, rows.shape[1])
        if self.rows is None:
            return rows.view(self.steps, self.sequences, rows.shape[1]).transpose(0, 1)
        padded = rows.new_zeros(shape[0] * shape[1], shape[2])
        return padded.index_copy_(0, self.rows, rows).view(shape)

    def arrange(self, by_sequence: Tensor) -> Tensor:
        """Put sequences into the order of their places: (S, size) both."""
        return by_sequence if self.order is None else by_sequence.index_select(0, self.order)

    def disarrange(self, by_place: Tensor) -> Tensor:
        """Undo `arrange`."""
        return by_place if self.order is None else torch.empty_like(by_place).index_copy_(0, self.order, by_place)

    def states_before(self, states: Tensor) -> Tensor:
        """Take what each row follows: (S + R, size) -> (R, size)."""
        return states[: self.total] if self.before is None else states.index_select(0, self.before)

    def last_states(self, states: Tensor) -> Tensor:
        """Take each sequence's last state: (S + R, size) -> (S, size), by sequence."""
        return states[self.total :] if self.last is None else states.index_select(0, self.last)


@lru_cache(maxsize=64)
def even_layout(sequences: int, steps: int, groups: int) -> Layout:
    """Lay out a batch without padding."""
    edges = torch.arange(groups + 1) * sequences // groups
    starts, sizes = edges[:-1], edges.diff()
    first = torch.arange(steps) * sequences + starts[:, None]
    count = sizes[:, None].expand(groups, steps).contiguous()
    return Layout(steps=steps, first=first, count=count, starts=starts, sequences=sequences, total=sequences * steps)


def ragged_layout(lengths: Tensor, steps: int, groups: int) -> Layout:
    """Lay out sequences of different lengths, dealt to the groups so that each has about as many steps.

    Args:
        lengths: (sequences,), at most `steps`.
        steps: Steps of the padded batch.
        groups: How many share the work.

    Returns:
        Indices of the valid steps alone.
    """
    sequences = len(lengths)
    by_length = lengths.argsort(descending=True, stable=True)
    turn, seat = torch.arange(sequences) // groups, torch.arange(sequences) % groups
    dealt = torch.where(turn % 2 == 0, seat, groups - 1 - seat)  # there and back, for the longest go first
    dealt, places = dealt.sort(stable=True)
    order = by_length[places]
    sizes = dealt.bincount(minlength=groups)
    starts = sizes.cumsum(0) - sizes
    going = lengths[order][:, None] > torch.arange(steps)  # (sequences, steps)
    count = torch.zeros(groups, steps, dtype=torch.int64).index_add_(0, dealt, going.long())
    first = (count.flatten().cumsum(0) - count.flatten()).view(groups, steps)
    step, place = torch.cat([_step_by_step(part) for part in going.split(sizes.tolist())]).unbind(1)
    place = place + starts.repeat_interleave(count.sum(1))
    group = dealt[place]
    seat = place - starts[group]
    before = torch.where(step == 0, place, sequences + first[group, step - 1] + seat)
    ends = lengths[order] - 1
    places = torch.arange(sequences)
    last = torch.where(ends < 0, places, sequences + first[dealt, ends] + places - starts[dealt])
    return Layout(
        steps=steps,
        first=first,
        count=count,
        starts=starts,
        sequences=sequences,
        total=len(place),
        order=order,
        rows=order[place] * steps + step,
        before=before,
        last=torch.empty_like(last).index_copy_(0, order, last),
    )


def _step_by_step(going: Tensor) -> Tensor:
    return going.t().nonzero()  # (valid steps, 2): step, place within the group
