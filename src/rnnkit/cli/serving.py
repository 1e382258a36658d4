"""`rnnkit serve`: models over HTTP and WebSocket, and a page to try them."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from rnnkit.errors import ConfigError
from rnnkit.serving.hosting import Settings, named_models
from rnnkit.serving.limits import Limits
from rnnkit.serving.server import serve as run_server

LIMITS, ACCESS = Group("Limits", sort_key=3), Group("Access", sort_key=2)
USUAL_LIMITS = Limits()
KEY, STATE_KEY = "RNNKIT_API_KEY", "RNNKIT_STATE_KEY"


def serve(
    *models: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    threads: int = 1,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    api_key_file: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    allow_origin: Annotated[list[str] | None, Parameter(group=ACCESS, negative=())] = None,
    tls_certificate: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    tls_key: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    limits: Annotated[Limits, Parameter(name="*", group=LIMITS)] = USUAL_LIMITS,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Serve models: answers over HTTP, live streams over WebSocket, and a page to try them.

    Args:
        models: Run or model folders; NAME=FOLDER gives one a name.
        host: Address to listen on; 0.0.0.0 is everybody's.
        port: Likewise.
        workers: Processes that share the work.
        threads: Processor threads of each worker's models.
        weights: Numbers of the packed weights of recurrent layers.
        api_key_file: A file with keys, a line each, of which clients must send one; or set RNNKIT_API_KEY.
        allow_origin: An origin whose pages may call this server, as https://example.org; may be given several times.
        tls_certificate: For https and wss, PEM.
        tls_key: Likewise.
        limits: What is refused.
        debug: Show where an error comes from.
    """
    del debug
    if not models:
        raise ConfigError("no model is given; expected run folders, as rnnkit serve runs/gestures")
    settings = Settings(
        models=named_models(models),
        folder="",
        limits=asdict(limits),
        weights=weights,
        threads=threads,
        state_key=_state_key(),
        api_keys=_keys(api_key_file),
        origins=tuple(allow_origin or ()),
    )
    names = ", ".join(settings.models)
    run_server(
        settings,
        host=host,
        port=port,
        workers=workers,
        certificate=tls_certificate,
        private_key=tls_key,
        ready=lambda address: print(f"{address} serves {names}; Ctrl-C stops", flush=True),
    )


def _keys(path: Path | None) -> tuple[str, ...]:
    if path is None:
        key = os.environ.get(KEY, "")
        return (key,) if key else ()
    try:
        keys = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); expected an API key a line") from None
    if not keys:
        raise ConfigError(f"{path} holds no API key; expected one a line")
    return keys


def _state_key() -> str:
    """Return what signs states: the same on several machines where one is set, else drawn anew."""
    key = os.environ.get(STATE_KEY, "")
    try:
        if key and len(bytes.fromhex(key)) < 16:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{STATE_KEY} is no hexadecimal number of 32 digits or more") from None
    return key
