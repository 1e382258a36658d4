"""Runs the application: one process, or several that share a socket."""

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

import orjson
import uvicorn
from uvicorn.supervisors import Multiprocess

from rnnkit.errors import ConfigError, RunError
from rnnkit.serving.app import SETTINGS, create, make_app
from rnnkit.serving.hosting import Host, Settings
from rnnkit.serving.limits import Limits

SWITCH_SECONDS = 0.001  # how long a thread of Python may keep the event loop waiting
BACKLOG = 2048


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
        scheme, number = "https" if certificate else "http", listening.getsockname()[1]
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
            ready(address)
            config = _config("rnnkit.serving.server:worker", limits, certificate, private_key, workers=workers)
            supervisor = Multiprocess(config, [listening])
            supervisor.run()
            started = all(process.exitcode in (0, None) for process in supervisor.processes)
    if not started:
        raise RunError("the server could not start; the lines above say why")


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
