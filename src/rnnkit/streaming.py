"""One user's live sequence: push what has arrived, get events, save the state and go on elsewhere."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rnnkit.errors import StreamError

VERSION = "1"


class Stream(ABC):
    """Features, state and decoder of one sequence that is still arriving.

    After n inputs its answers equal those of `predict` on these n inputs, however they were cut into chunks; after
    `finish` they equal the offline ones.
    """

    @abstractmethod
    def push(self, chunk: Any) -> list[Any]:
        """Take the next inputs and return the events they cause.

        Raises:
            StreamError: If the stream was finished.
        """

    @abstractmethod
    def finish(self) -> list[Any]:
        """End the sequence and return the events that waited for more."""

    @abstractmethod
    def state(self) -> bytes:
        """Return all that `restore` needs to go on from here, in this process or another."""

    @abstractmethod
    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """

    @abstractmethod
    def reset(self) -> None:
        """Begin a new sequence."""


def pack_state(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    """Write a stream's tensors and facts as safetensors bytes: nothing in them can run.

    Args:
        tensors: By name.
        facts: Strings, among them "model": which model they belong to.

    Returns:
        The bytes.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata={**facts, "version": VERSION})


def unpack_state(state: bytes, *, model: str, like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `pack_state` wrote, checking that it fits.

    Args:
        state: The bytes.
        model: The "model" fact expected.
        like: Tensors of the shapes and types expected.

    Returns:
        Tensors and facts.

    Raises:
        StreamError: If the bytes are damaged, or from another model or version.
    """
    try:
        tensors, facts = load(state), _metadata(state)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StreamError(
            f"this is not a stream's state ({error}); expected the bytes that state() returned"
        ) from error
    if facts.get("version") != VERSION:
        raise StreamError(f"the stream's state has version {facts.get('version')!r}; this rnnkit reads {VERSION!r}")
    if facts.get("model") != model:
        raise StreamError(
            f"the stream's state is of model {facts.get('model')!r}; this one is {model!r}: reset the stream"
        )
    found, expected = _describe(tensors), _describe(like)
    if found != expected:
        raise StreamError(f"the stream's state holds {found}; expected {expected}: reset the stream")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise StreamError(
                f"the stream's state holds {name} with {tensor[~torch.isfinite(tensor)][0].item()}: reset it"
            )
    return {name: tensor.to(like[name].device) for name, tensor in tensors.items()}, facts


def _describe(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        name: f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for name, tensor in tensors.items()
    }


def _metadata(state: bytes) -> dict[str, str]:
    # The header of a safetensors file: its length in 8 bytes, then JSON.
    length = int.from_bytes(state[:8], "little")
    return dict(json.loads(state[8 : 8 + length])["__metadata__"])
