"""The models of a server, and who runs them."""

from __future__ import annotations

import asyncio
import gc
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from rnnkit.checkpoint import load, model_folder
from rnnkit.errors import ConfigError
from rnnkit.serving.engine import Engine
from rnnkit.serving.limits import Limits
from rnnkit.serving.meters import Meters
from rnnkit.serving.seats import Seats
from rnnkit.serving.tickets import Tickets
from rnnkit.serving.wires import Wire, wire_of
from rnnkit.tasks import Task

Result = TypeVar("Result")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know, JSON-able.

    Attributes:
        models: Folders by name.
        folder: That the workers share.
        limits: Of the server.
        weights: Kind of numbers of the packed weights.
        threads: Of torch, of each worker; 0 leaves its own choice.
        state_key: Signs states, hexadecimal.
        api_keys: One of which a client must know, if there are any.
        origins: Whose pages may call, besides the server's own.
    """

    models: dict[str, str]
    folder: str
    limits: dict[str, Any]
    weights: str = "float32"
    threads: int = 0
    state_key: str = ""
    api_keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hosted:
    """A model of a server."""

    name: str
    task: Task
    wire: Wire
    why_no_stream: str | None
    """Why it cannot stream, if it cannot."""


class Host:
    """Models, and the threads that run them: one steps all live streams, another answers requests.

    Args:
        settings: Which models, and how much of them.

    Raises:
        CheckpointError: If a folder holds no model of rnnkit.
        ConfigError: If a model cannot have such weights.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.limits = settings, Limits(**settings.limits)
        self.models = {name: _hosted(name, path, settings.weights) for name, path in settings.models.items()}
        key = bytes.fromhex(settings.state_key) or secrets.token_bytes(32)
        self.tickets = Tickets(key, most_bytes=self.limits.max_message_bytes)
        self.seats = Seats(Path(settings.folder) / "streams", most=self.limits.max_streams)
        self.meters = Meters()
        self.draining = False
        self.engine = Engine(batch_seconds=self.limits.batch_milliseconds / 1000, observe=self.meters.batches.observe)
        self._requests, self._asked = ThreadPoolExecutor(1, thread_name_prefix="rnnkit-requests"), 0

    @property
    def full(self) -> bool:
        """Whether as many requests wait as may."""
        return self._asked >= self.limits.max_requests

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Count a request while it is answered."""
        self._asked += 1
        self.meters.queue.set(self._asked)
        try:
            yield
        finally:
            self._asked -= 1
            self.meters.queue.set(self._asked)

    async def answer(self, function: Callable[[], Result]) -> Result:
        """Run what answers a request, off the event loop."""
        with self.asked():
            return await asyncio.get_running_loop().run_in_executor(self._requests, function)

    def settle(self) -> None:
        """Keep the collector of garbage from looking at the models again and again, which takes a third of the time."""
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """End the threads, and let the file of seats go."""
        gc.unfreeze()
        self.engine.stop()
        self._requests.shutdown()
        self.seats.close()


def _hosted(name: str, path: str, weights: str) -> Hosted:
    task = load(path)
    task.pack(weights)
    wire = wire_of(task)
    try:
        task.stream()
        refusal = None
    except ConfigError as reason:
        refusal = str(reason)
    return Hosted(name, task, wire, refusal)


def named_models(paths: Sequence[Path]) -> dict[str, str]:
    """Name models by their folders.

    Args:
        paths: Run or model folders, each as `FOLDER`, or `NAME=FOLDER`.

    Returns:
        Folders by name.

    Raises:
        CheckpointError: If one holds no model of rnnkit.
        ConfigError: If two have one name, or a name cannot stand in an address.
    """
    found: dict[str, str] = {}
    for given in map(str, paths):
        name, equals, place = given.partition("=")
        path = Path(place if equals and NAME.fullmatch(name) else given)
        folder = model_folder(path)
        if not equals or path == Path(given):
            name = path.resolve().name
            name = path.resolve().parent.name if name == "model" else name
        if not NAME.fullmatch(name):
            raise ConfigError(f"{given}: {name!r} cannot stand in an address; give it a name, as lm={given}")
        if name in found:
            raise ConfigError(f"{given} and {found[name]} are both called {name!r}; give one a name, as other={given}")
        found[name] = str(folder.resolve())
    return found
