"""Runs the application: one process, or several among which connections are spread."""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from rnnkit.errors import ConfigError, RunError
from rnnkit.serving.app import SETTINGS, create, make_app
from rnnkit.serving.hosting import Host, Settings
from rnnkit.serving.limits import Limits

SWITCH_SECONDS = 0.001  # how long a thread of Python may keep the event loop waiting
BACKLOG = 2048
START_SECONDS = 120.0  # that a worker may take to load its models


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    certificate: Path | None = None,
    private_key: Path | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve models until a signal comes.

    Args:
        settings: Which, and with what limits; `folder` and `state_key` may be empty.
        host: Address to listen on.
        port: Likewise; 0 takes one that is free.
        workers: Processes.
        certificate: Of TLS, PEM.
        private_key: Likewise.
        ready: Is told the address once it is taken.

    Raises:
        ConfigError: If the address is not to be had, or a file is missing.
        CheckpointError: If a folder holds no model.
        RunError: If a worker cannot start.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; expected at least 1")
    if (certificate is None) != (private_key is None):
        raise ConfigError("a certificate and a private key come together; give both, or none")
    for file in (certificate, private_key):
        if file is not None and not file.is_file():
            raise ConfigError(f"{file}: there is no such file; expected PEM for TLS")
    listening = listen(host, port)
    with listening, TemporaryDirectory(prefix="rnnkit-") as folder:
        settings = dataclasses.replace(
            settings, folder=settings.folder or folder, state_key=settings.state_key or secrets.token_hex(32)
        )
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read when the workers import it
        os.environ[SETTINGS] = orjson.dumps(settings).decode()
        models = Host(settings)  # here, so that what is wrong is said once
        socket_name = listening.getsockname()
        scheme, number = "https" if certificate else "http", socket_name[1]
        address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}"
        if workers == 1:
            sys.setswitchinterval(SWITCH_SECONDS)
            server = uvicorn.Server(_config(make_app(models), models.limits, certificate, private_key, workers=1))
            ready(address)
            server.run([listening])
            started = server.started
        else:
            models.close()
            limits = models.limits
            del models
            config = _config("rnnkit.serving.server:worker", limits, certificate, private_key, workers=workers)
            listening.close()
            supervisor = _Workers(config, listening.family, socket_name, ready=lambda: ready(address))
            supervisor.run()
            started = all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)
    if not started:
        raise RunError("the server could not start; the lines above say why")


class _Workers(Multiprocess):
    """Processes that each listen on a socket of their own: the kernel spreads connections evenly among them.

    On a shared socket the process that wakes first takes nearly all. That of a process that dies is gone with it, so
    that others take what comes until it is replaced.

    Args:
        config: Of every process.
        family: Of the address.
        address: Where they listen.
        ready: Is called once all do.
    """

    def __init__(self, config: uvicorn.Config, family: int, address: Any, *, ready: Callable[[], None]) -> None:
        super().__init__(config, [_bound(family, address)])
        self.family, self.address, self.ready = family, address, ready

    def init_processes(self) -> None:
        for _ in range(self.processes_num):
            process = Process(self.config, self.sockets)
            process.start()
            self.processes.append(process)
            self._prepare()
        if all(process.wait_until_ready(START_SECONDS, self.should_exit) for process in self.processes):
            self.ready()

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        super().keep_subprocess_alive()
        if self.processes != before:
            self._prepare()

    def _prepare(self) -> None:
        """Bind the socket of the next process, which is the only one to listen on it."""
        (taken,) = self.sockets
        self.sockets = [_bound(self.family, self.address)]
        taken.close()

    handle_hup = handle_ttin = handle_ttou = None  # type: ignore[assignment] - the number of processes stays


def _bound(family: int, address: Any) -> socket.socket:
    """Bind a socket to an address that others of this server are bound to as well."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


def worker() -> object:
    """Make the application of one of several workers."""
    sys.setswitchinterval(SWITCH_SECONDS)
    return create()


def listen(host: str, port: int) -> socket.socket:
    """Take an address.

    Args:
        host: Name or number.
        port: 0 takes one that is free.

    Returns:
        A socket that is bound to it.

    Raises:
        ConfigError: If it is not to be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error}); choose another with --port or --host"
        ) from None


def _config(
    app: object, limits: Limits, certificate: Path | None, private_key: Path | None, *, workers: int
) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        factory=isinstance(app, str),
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=limits.max_message_bytes,
        ws_ping_interval=20.0,
        ws_ping_timeout=None,  # a client that is slow to answer is no dead one; one that sends nothing is ended as idle
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=ceil(limits.drain_seconds),
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
