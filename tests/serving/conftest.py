"""Small untrained models of every task, and servers of them in a thread."""

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn

from rnnkit.checkpoint import load, save_model
from rnnkit.serving.app import make_app
from rnnkit.serving.hosting import Host, Settings
from rnnkit.serving.server import listen
from rnnkit.tasks import TASKS, Task

SMALL = {"hidden_size": 6, "embedding_size": 5}
TINY: dict[str, dict[str, Any]] = {
    "language-model": SMALL,
    "text-classification": SMALL,
    "series-classification": {"hidden_size": 6, "filters": 5},
    "tagging": {**SMALL, "character_units": 5, "bidirectional": False},
    "forecasting": {"hidden_size": 6, "horizon": 3},
    "speech": {"hidden_size": 6, "filters": 5},
    "translation": {"hidden_size": 8, "embedding_size": 5, "layer": "gru"},
}


@pytest.fixture(scope="session")
def plainly() -> Callable[[Sequence[Any]], Any]:
    """What dataclasses look like once they went through JSON."""
    return lambda results: json.loads(json.dumps([dataclasses.asdict(one) for one in results]))


@pytest.fixture(scope="session")
def agree() -> Callable[[Any, Any], bool]:
    """Whether two answers are the same, numbers to the rounding of a batch."""

    def compare(found: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            return found.keys() == expected.keys() and all(compare(found[key], expected[key]) for key in expected)
        if isinstance(expected, list):
            return len(found) == len(expected) and all(map(compare, found, expected))
        return found == (pytest.approx(expected, rel=1e-4, abs=1e-5) if isinstance(expected, float) else expected)

    return compare


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder of every task, by its name."""
    root = tmp_path_factory.mktemp("models")
    for name, task_class in TASKS.items():
        torch.manual_seed(0)
        config = task_class.config_class(**TINY[name])
        save_model(task_class.prepare(task_class.read([task_class.demo_data()], config), config), root / name)
    return {name: root / name for name in TASKS}


@pytest.fixture(scope="session")
def tasks(folders: dict[str, Path]) -> dict[str, Task]:
    """The models themselves."""
    return {name: load(folder) for name, folder in folders.items()}


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    url: str
    host: Host
    server: uvicorn.Server

    @property
    def socket_url(self) -> str:
        return "ws" + self.url.removeprefix("http")


Start = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def start(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start a server of some tasks' models, with limits."""

    @contextlib.contextmanager
    def begin(*names: str, limits: dict[str, Any] | None = None, **settings: Any) -> Iterator[Running]:
        shared = tmp_path_factory.mktemp("shared")
        models = {name: str(folders[name]) for name in names or TASKS}
        host = Host(Settings(models, str(shared), limits or {}, threads=1, **settings))
        listening = listen("127.0.0.1", 0)
        config = uvicorn.Config(
            make_app(host), ws="websockets-sansio", log_level="warning", ws_max_size=host.limits.max_message_bytes
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", host, server)
        finally:
            server.should_exit = True
            thread.join()

    return begin


@pytest.fixture(scope="session")
def everything(start: Start) -> Iterator[Running]:
    """One server of all models, with the usual limits."""
    with start() as running:
        yield running
