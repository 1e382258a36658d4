"""One training run of a comparison, in a process of its own, and what is measured of it."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rnnkit.checkpoint import Run
from rnnkit.errors import RnnkitError, RunError
from rnnkit.layers import Stack
from rnnkit.training import ProgressBar, train
from rnnkit.training.machine import most_resident_megabytes

STEPS_TIMED, STEPS_BEFORE = 200, 20
HINTS = {-9: ", for want of memory?", 1: "; in a script, call compare under if __name__ == '__main__'"}


@dataclass(frozen=True)
class Trial:
    """What one layer came to with one seed.

    Attributes:
        layer: Name in LAYERS.
        seed: Of the weights and the order of the data.
        metrics: On the test data, or where there is none on the validation data.
        parameters: Numbers that are learnt.
        hidden_size: Units of each layer.
        steps: Updates made.
        seconds: Of training with its validation.
        speed: Targets a second in training, the median of the log.
        step_microseconds: A step of the stack for one sequence on one thread, the median; None where it cannot stream.
        memory_megabytes: The most that the process held.
        file_bytes: Of the saved model.
        error: Why there is nothing of it; the numbers are then 0.
    """

    layer: str
    seed: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: int = 0
    hidden_size: int = 0
    steps: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    step_microseconds: float | None = None
    memory_megabytes: float = 0.0
    file_bytes: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Work:
    """What a trial trains on, and how.

    Attributes:
        task: Name.
        data: Files to train on.
        valid: Files to validate on, or None.
        test: Files to measure on, or None.
        run: Folder of the run.
        options: Of the task and of training, layer and seed among them.
        quiet: Whether to show no progress.
    """

    task: str
    data: tuple[str, ...]
    valid: tuple[str, ...] | None
    test: tuple[str, ...] | None
    run: Path
    options: Mapping[str, Any]
    quiet: bool


def run_trial(work: Work) -> Trial:
    """Train and measure in a process of its own, so that its memory is its own too.

    Args:
        work: What to do.

    Returns:
        The trial; one that failed says why.

    Raises:
        KeyboardInterrupt: If it was stopped.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(work, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        found = f"its process ended with code {process.exitcode}{HINTS.get(process.exitcode or 0, '')}"
    except BaseException:  # Ctrl-C, SIGTERM or a notebook's stop: it may have reached this process alone
        process.terminate()
        process.join()
        raise
    process.join()
    if found is None:
        raise KeyboardInterrupt
    if isinstance(found, str):
        return Trial(work.options["layer"], work.options["seed"], error=found)
    return found


def _report(work: Work, connection: Connection) -> None:
    try:
        connection.send(_measured(work))
    except RnnkitError as error:
        connection.send(str(error))
    except KeyboardInterrupt:
        with contextlib.suppress(BrokenPipeError):  # who asked has been stopped too
            connection.send(None)
    except Exception as error:  # noqa: BLE001 - of torch or the machine: the trial says so, the others go on
        connection.send(f"{type(error).__name__}: {error}")


def _measured(work: Work) -> Trial | None:
    result = train(
        work.task,
        list(work.data),
        valid=None if work.valid is None else list(work.valid),
        run=work.run,
        overwrite=True,
        callbacks=() if work.quiet else (ProgressBar(),),
        **work.options,
    )
    if result.stopped_by is not None:
        return None
    model, metrics = result.model, result.metrics
    if work.test is not None:
        metrics = model.score(model.encode(model.read(list(work.test), model.config)))
    speeds = [one["speed"] for one in Run(result.run).records() if one["kind"] == "train"]
    if not metrics:
        raise RunError("nothing was measured")
    return Trial(
        work.options["layer"],
        work.options["seed"],
        metrics=metrics,
        parameters=count_parameters(model.network),
        hidden_size=model.config.hidden_size,
        steps=result.steps,
        seconds=result.seconds,
        speed=statistics.median(speeds) if speeds else 0.0,
        step_microseconds=step_microseconds(model.network),
        memory_megabytes=most_resident_megabytes(),
        file_bytes=sum(file.stat().st_size for file in Run(result.run).model.rglob("*") if file.is_file()),
    )


def count_parameters(network: nn.Module) -> int:
    """Count the numbers that are learnt."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def step_microseconds(network: nn.Module) -> float | None:
    """Time a step of a network's stacks for one sequence, as in a live stream, on one thread.

    Args:
        network: In eval mode.

    Returns:
        The median, or None where a stack reads backwards.
    """
    stacks = [one for one in network.modules() if isinstance(one, Stack)]
    if not stacks or not all(one.streamable for one in stacks):
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return 1e6 * sum(map(_step_seconds, stacks))
    finally:
        torch.set_num_threads(threads)


def _step_seconds(stack: Stack) -> float:
    stack = copy.deepcopy(stack).cpu()  # on a GPU a clock would see how long it takes to ask for a step
    inputs, state, times = torch.zeros(1, 1, stack.input_size), stack.initial_state(1), []
    with torch.inference_mode():
        for _ in range(STEPS_BEFORE + STEPS_TIMED):
            began = time.perf_counter()
            _, state = stack(inputs, state)
            times.append(time.perf_counter() - began)
    return statistics.median(times[STEPS_BEFORE:])
