"""A server that is sent what nobody should send: it refuses, and goes on."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rnnkit.tasks import TASKS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MESSAGES = 60
STREAMABLE = [
    pytest.param(name, marks=() if name == "series-classification" else pytest.mark.slow)
    for name in TASKS
    if name != "translation"
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", GenerationMode)
def test_what_the_description_allows_and_forbids_is_answered_as_it_says(everything: Any, mode: GenerationMode):
    schema = schemathesis.openapi.from_url(f"{everything.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > len(TASKS)
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def ask(case: Any) -> None:
            case.validate_response(case.call(timeout=60), checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # what takes no parameters cannot be asked wrongly
            ask()
    assert httpx.get(f"{everything.url}/readyz").status_code == 200


def nonsense(generator: random.Random) -> str | bytes:
    """Draw a message: bytes, text, JSON of the wrong kind, or nearly a right one."""
    values: list[Any] = [None, -1, 1e308, "x" * 50, [], [[]], [["a"]], {"a": 1}, [[1e39] * 3], [None] * 9]
    kind = generator.randrange(5)
    if kind == 0:
        return generator.randbytes(generator.randrange(200))
    if kind == 1:
        return "".join(chr(generator.randrange(1, 0xD000)) for _ in range(generator.randrange(60)))
    action = generator.choice(["push", "restore", "finish", "reset", "state", "ping", "open", ""])
    message = {action: generator.choice(values)}
    return orjson.dumps(message if kind < 4 else [message, action]).decode()


@pytest.mark.parametrize("name", STREAMABLE)
def test_nonsense_on_a_stream_changes_no_other(everything: Any, name: str):
    generator, codes = random.Random(name), list[Any]()
    url = f"{everything.socket_url}/v1/models/{name}/stream?acknowledge=true"
    hosted = everything.host.models[name]
    right = orjson.dumps({"push": hosted.wire.pushes(hosted.task)[0]}).decode()
    with connect(url) as alone:
        alone.recv()
        alone.send(right)
        expected = orjson.loads(alone.recv())
    with connect(url) as calm:
        calm.recv()
        for _ in range(3):
            with connect(url) as wild:
                wild.recv()
                try:
                    for _ in range(MESSAGES // 3):
                        wild.send(nonsense(generator))
                        wild.recv(timeout=30)
                except ConnectionClosed as closed:
                    codes.append(closed.rcvd.code if closed.rcvd else None)
        calm.send(right)
        assert orjson.loads(calm.recv()) == expected
    assert not {None, 1011} & set(codes)  # what the server itself is to blame for


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    assert holds()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_random_bytes_on_the_socket_leave_nothing_behind(everything: Any):
    host, port = everything.url.removeprefix("http://").split(":")
    generator, threads = random.Random(0), threading.active_count()
    upgrade = (
        b"GET /v1/models/tagging/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    files = open_files()
    for number in range(40):
        with socket.create_connection((host, int(port)), timeout=10) as line:
            if number % 2:
                line.sendall(upgrade)
                line.recv(4096)
            line.sendall(generator.randbytes(generator.randrange(1, 400)))
            if number % 3:
                line.settimeout(0.05)
                with contextlib.suppress(OSError):
                    line.recv(4096)
    assert httpx.get(f"{everything.url}/readyz").status_code == 200
    wait_until(lambda: not everything.host.engine.streams)
    wait_until(lambda: open_files() <= files + 4)
    assert threading.active_count() <= threads + 1
