"""All that a run needs to go on exactly where it was, as tensors and facts."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rnnkit.errors import CheckpointError
from rnnkit.training.processes import gather, own_rows

if TYPE_CHECKING:
    from rnnkit.training.trainer import Trainer

_log = logging.getLogger("rnnkit.training")

FACTS = ("step", "validated", "plateaus", "since_best", "last_loss", "speed", "validations")
SETTINGS = ("threads", "precision")


def take_snapshot(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Collect the state of a run; every process of it must call this.

    Args:
        trainer: Between two steps.

    Returns:
        Tensors by name, and JSON-able facts: what `restore_snapshot` takes.
    """
    fabric = trainer.fabric
    tensors = {f"network.{name}": tensor for name, tensor in trainer.task.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in trainer.average.values.items()}
    for index, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
    tensors |= {f"carry.{index}": gather(fabric, part) for index, part in enumerate(trainer.carry or ())}
    tensors["random"] = gather(fabric, torch.get_rng_state()[None].to(fabric.device))  # (processes, bytes)
    if fabric.device.type == "cuda":
        tensors["random.cuda"] = gather(fabric, torch.cuda.get_rng_state()[None].to(fabric.device))
    facts = {name: getattr(trainer, name) for name in FACTS} | {name: getattr(trainer, name) for name in SETTINGS}
    facts |= {"best": None if math.isinf(trainer.best) else trainer.best, "seconds": trainer.seconds}
    facts |= {"validation_seconds": trainer.validation_seconds}
    facts |= {"batches": trainer.batches.state_dict(), "averaged": trainer.average.count}
    return tensors, facts


def restore_snapshot(trainer: Trainer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Put a trainer into the state that was collected.

    Args:
        trainer: Newly made, of the same run.
        tensors: Of `take_snapshot`.
        facts: Of `take_snapshot`.

    Raises:
        CheckpointError: If they do not fit the run.
    """
    try:
        trainer.task.network.load_state_dict(_part(tensors, "network."))
        _restore_optimizer(trainer, _part(tensors, "optimizer."))
        carry = _part(tensors, "carry.")
        device = trainer.fabric.device
        trainer.carry = tuple(own_rows(trainer.fabric, carry[str(i)]).to(device) for i in range(len(carry))) or None
        average = {name: tensor.to(device) for name, tensor in _part(tensors, "average.").items()}
        trainer.average.restore(average, count=facts["averaged"])
        trainer.batches.load_state_dict(facts["batches"])
        for name in FACTS:
            setattr(trainer, name, facts[name])
        trainer.best = math.inf if facts["best"] is None else facts["best"]
        trainer.spent_seconds = facts["seconds"]
        trainer.validation_seconds = facts.get("validation_seconds", 0.0)  # older runs did not count them
        _restore_random(trainer, tensors)
    except (KeyError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{trainer.run.checkpoints} does not fit this run ({reason}): start a new one") from error
    for name in SETTINGS:
        if facts.get(name) != getattr(trainer, name):
            _warn(name, facts.get(name), getattr(trainer, name))


def _restore_optimizer(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    trainer.optimizer.load_state_dict({**trainer.optimizer.state_dict(), "state": state})


def _restore_random(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    fabric, saved = trainer.fabric, tensors["random"]
    if len(saved) != fabric.world_size:
        _warn("devices", len(saved), fabric.world_size)
        return
    torch.set_rng_state(saved[fabric.global_rank].clone())  # torch reads it by aligned moves: a row may crash
    if "random.cuda" in tensors and fabric.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"][fabric.global_rank].clone())


def _warn(name: str, before: Any, now: Any) -> None:
    _log.warning("this run had %s %s and goes on with %s: its numbers may differ in the last bits", name, before, now)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
