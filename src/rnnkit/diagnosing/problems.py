"""Problems that only a memory of a given length can solve (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from rnnkit.layers import LAYERS, Stack

BATCH, TESTED = 64, 512  # sequences
COPIED, SYMBOLS = 10, 8  # symbols to copy, of so many kinds
CLIP_NORM = 1.0
EVERY = 50  # updates between two notes


@dataclass(frozen=True)
class Problem:
    """A made-up problem.

    Attributes:
        input_size: Features of a step.
        output_size: Of an answer.
        make: (batch, time, generator) to inputs (batch, steps, input_size) and targets.
        error: Answers of all steps and targets to a loss.
        chance: The error of the best answer without a memory.
        solved: The error below which it is.
    """

    input_size: int
    output_size: int
    make: Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]
    error: Callable[[Tensor, Tensor], Tensor]
    chance: float
    solved: float


def _adding(batch: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two marked numbers among many, one in each half: their sum is asked for at the end."""
    numbers, marks = torch.rand(batch, time, generator=generator), torch.zeros(batch, time)
    half = time // 2
    first = torch.randint(half, (batch, 1), generator=generator)
    second = half + torch.randint(time - half, (batch, 1), generator=generator)
    marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(1, keepdim=True)


def _copying(batch: int, time: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ten symbols, a long silence, a sign: then the symbols are asked for."""
    symbols = torch.randint(SYMBOLS, (batch, COPIED), generator=generator)
    tokens = torch.full((batch, time + 2 * COPIED), SYMBOLS)
    tokens[:, :COPIED], tokens[:, time + COPIED - 1] = symbols, SYMBOLS + 1
    return nn.functional.one_hot(tokens, SYMBOLS + 2).float(), symbols


def _last(answers: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(answers[:, -1], targets)


def _last_symbols(answers: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(answers[:, -COPIED:].flatten(0, 1), targets.flatten())


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "adding": Problem(2, 1, _adding, _last, chance=1 / 6, solved=0.01),
        "copying": Problem(SYMBOLS + 2, SYMBOLS, _copying, _last_symbols, chance=2.0794, solved=0.1),
    }
)


@dataclass(frozen=True)
class Attempt:
    """What came of training on a problem.

    Attributes:
        stack: As it is at last, in eval mode.
        inputs: (sequences, steps, input_size) that it was tested on.
        error: On them.
        updates: Made.
        clipped: Share of the updates whose gradient was clipped.
    """

    stack: Stack
    inputs: Tensor
    error: float
    updates: int
    clipped: float


def solve(
    problem: Problem,
    layer: str,
    *,
    time: int,
    hidden_size: int = 64,
    steps: int = 2000,
    learning_rate: float = 0.003,
    clip_norm: float | None = CLIP_NORM,
    seed: int = 1,
    watch: Callable[[int, float], None] | None = None,
) -> Attempt:
    """Train one layer on a problem, new sequences in every update.

    Args:
        problem: Of PROBLEMS.
        layer: Name in LAYERS.
        time: Steps of a sequence, or of the silence.
        hidden_size: Units.
        steps: Updates at most; it ends earlier where the problem is solved, or the error is no number any more.
        learning_rate: Of Adam.
        clip_norm: Scale gradients down to this norm where they are longer; None does not.
        seed: Of weights and sequences.
        watch: Is told updates and error in training now and then.

    Returns:
        The stack and how it did.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stack = Stack(LAYERS[layer], problem.input_size, hidden_size)
        answer = nn.Linear(stack.output_size, problem.output_size)
    parameters = [*stack.parameters(), *answer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    total, clipped, step = 0.0, 0, 0
    for step in range(1, steps + 1):
        inputs, targets = problem.make(BATCH, time, generator)
        error = problem.error(answer(stack(inputs)[0]), targets)
        optimizer.zero_grad()
        error.backward()
        limit = math.inf if clip_norm is None else clip_norm
        clipped += float(nn.utils.clip_grad_norm_(parameters, limit)) > limit
        optimizer.step()
        total += float(error.detach())
        if step % EVERY == 0:
            if watch is not None:
                watch(step, total / EVERY)
            if total / EVERY < problem.solved / 2 or not math.isfinite(total):
                break
            total = 0.0
    stack.eval()
    with torch.inference_mode():
        inputs, targets = problem.make(TESTED, time, generator)
        error = problem.error(answer(stack(inputs)[0]), targets)
    return Attempt(stack, inputs, float(error), step, clipped / max(step, 1))
