"""Several processes that train one model: how they start, who is first, and what they tell each other."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor
from torch.distributed import is_torchelastic_launched

from rnnkit.errors import ConfigError, RunError
from rnnkit.training.config import TrainingConfig
from rnnkit.training.machine import choose_device

LONGEST_WAIT = timedelta(hours=6)  # for the first process, which reads and encodes the data before the others begin


def first_process() -> bool:
    """Tell whether this is the process that reads files, writes the run and reports."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def make_fabric(config: TrainingConfig) -> Fabric:
    """Prepare the devices; `launch()` of the result starts the other processes, or joins those that torchrun started.

    Args:
        config: Names the device and how many.

    Returns:
        Lightning's Fabric.

    Raises:
        ConfigError: If the device is not there, torchrun started another number of processes, or this program cannot
            start others of its kind.
    """
    device = choose_device(config.device)
    devices, nodes = config.devices, 1
    if is_torchelastic_launched():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if devices not in (1, world):
            raise ConfigError(f"devices is {devices}, but torchrun started {world} processes; leave devices out")
        devices, nodes = local, world // local
    if devices * nodes == 1:
        return Fabric(accelerator=device, devices=1)
    if not is_torchelastic_launched() and not _can_run_again():
        raise ConfigError(
            f"devices is {devices}, for which this program must start again: use the command line or a script file"
        )
    if device == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"devices is {devices}, but torch sees {torch.cuda.device_count()} GPUs here")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its banner
    backend = "gloo" if device == "cpu" else "nccl"
    # A learnt initial state takes part only in chunks that begin a document.
    strategy = DDPStrategy(process_group_backend=backend, timeout=LONGEST_WAIT, find_unused_parameters=True)
    return Fabric(accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy)


def _can_run_again() -> bool:
    main = sys.modules["__main__"]
    return main.__spec__ is not None or Path(sys.argv[0]).is_file()


@contextmanager
def losses_reported(fabric: Fabric, run: Path) -> Iterator[None]:
    """Say which run lost a process while the block ran.

    Args:
        fabric: Launched.
        run: Its folder.

    Yields:
        Once.

    Raises:
        RunError: If another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or "peer" not in str(error):
            raise
        raise RunError(
            f"another process of {run} was lost: rnnkit train --resume {run} goes on from its last checkpoint"
        ) from error


class Agreement(NamedTuple):
    """What all processes know after a step."""

    total: float
    """Summed loss of all of them."""
    targets: int
    """Of what it is summed over."""
    stopped_by: int
    """The signal that any of them got, or 0."""
    seconds: float
    """Time spent, by the first one's clock."""


def agree(fabric: Fabric, mine: Agreement) -> Agreement:
    """Bring the processes to one view of the step they made together; with one process, its own."""
    if fabric.world_size == 1:
        return mine
    rows = gather(fabric, torch.tensor([mine], dtype=torch.float64, device=fabric.device)).cpu()  # (processes, 4)
    totals = rows.sum(0)
    return Agreement(float(totals[0]), int(totals[1]), int(rows[:, 2].max()), float(rows[0, 3]))


def gather(fabric: Fabric, rows: Tensor) -> Tensor:
    """Concatenate every process's rows, in the order of the processes: (rows, ...) -> (processes * rows, ...)."""
    if fabric.world_size == 1:
        return rows
    together = fabric.all_gather(rows)
    assert isinstance(together, Tensor)
    return together.flatten(0, 1)


def own_rows(fabric: Fabric, rows: Tensor) -> Tensor:
    """Take this process's share of what `gather` made."""
    share = len(rows) // fabric.world_size
    return rows[fabric.global_rank * share :][:share]
