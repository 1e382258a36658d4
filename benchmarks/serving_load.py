"""Live gesture streams on a server, a packet every 20 ms each: what is dropped, how late answers are, what memory does.

`steady` feeds 200 streams for 10 minutes; `above the cap` does so while others try to come in; `killed` kills one of
two workers, whose clients go on from their states. The clients run on the same cores. Nothing else should run then:
python benchmarks/serving_load.py [--commit]
"""

import asyncio
import base64
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import rnnkit
from record import measure
from rnnkit.data.samples import sample_path
from rnnkit.data.series import read_series

INTERVAL = 0.02  # seconds between the packets of a stream
STREAMS, TRIED_A_SECOND, WARM_SECONDS = 200, 10, 5.0
ANSWERED = 10  # one stream in so many has every packet answered, which tells how late; others hear of new labels
ROWS = [
    {"what": "steady", "streams": STREAMS, "seconds": 600, "workers": 2},
    *({"what": "steady", "streams": streams, "seconds": 60, "workers": 2} for streams in (120, 160, 250, 300)),
    {"what": "above the cap", "streams": STREAMS, "seconds": 60, "workers": 2},
    {"what": "killed", "streams": 40, "seconds": 20, "workers": 2},
]
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """One stream by hand: a WebSocket of binary packets, whose answers are counted off."""

    def __init__(self, host: str, port: int, *, answered: bool = False) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/models/gestures/stream?candidates=0&changes=true&acknowledge={str(answered).lower()} HTTP/1.1\r\n"
            f"Host: {host}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.answered, self.due, self.sent, self.late = answered, 0.0, list[float](), list[float]()
        self.ready, self.seen, self.code, self._rest, self._headed = False, -1, 0, b"", False

    def send(self, packet: bytes, now: float) -> None:
        """Send a packet of less than 126 bytes."""
        self.socket.sendall(bytes([0x82, 0x80 | len(packet)]) + b"\0\0\0\0" + packet)
        self.sent.append(now)
        self.due += INTERVAL

    def ask(self) -> None:
        """Ask how many packets were taken."""
        self.socket.sendall(b'\x81\x8e\0\0\0\0{"state":null}')

    def receive(self) -> None:
        now, found = time.monotonic(), self.socket.recv(65536)
        self.code = self.code if found else self.code or 1006
        self._rest += found
        if not self._headed and b"\r\n\r\n" in self._rest:
            self._headed, self._rest = True, self._rest.split(b"\r\n\r\n", 1)[1]
        while self._headed and len(self._rest) >= 2:
            size, start = self._rest[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(self._rest[2:4]), 4
            if len(self._rest) < start + size:
                return
            kind, body = self._rest[0] & 15, self._rest[start : start + size]
            self._rest = self._rest[start + size :]
            if kind == 8:
                self.code = int.from_bytes(body[:2])
            elif body.startswith(b'{"type":"ready"'):
                self.ready = True
            elif body.startswith(b'{"type":"state"'):
                self.seen = int(orjson.loads(body)["seen"])
            elif body.startswith(b'{"type":"events"') and self.answered:
                self.late.append(now - self.sent[len(self.late)])
            elif kind == 1 and self.ready and not body.startswith(b'{"type":"events"'):
                raise RuntimeError(body.decode())


@contextmanager
def server(folder: Path, *, streams: int, workers: int) -> Iterator[tuple[str, int, int]]:
    """Serve the folder's gestures, trained for a moment if there are none; give host, port and process id."""
    model = folder / "gestures"
    if not model.exists():
        rnnkit.train("gesture", sample_path("strokes"), run=model, steps=150)
    command = [sys.executable, "-m", "rnnkit", "serve", str(model), "--port", "0", "--workers", str(workers)]
    process = subprocess.Popen(
        [*command, "--max-streams", str(streams), "--message-rate", "1000"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
        assert address is not None
        yield address[1], int(address[2]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def family(pid: int) -> list[int]:
    """List a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def resident(pid: int) -> float:
    """Return the megabytes that a server holds."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def computed(pid: int) -> float:
    """Return the seconds that a server has computed."""
    parts = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(part[11]) + int(part[12]) for part in parts) / TICKS


def feed(host: str, port: int, pid: int, *, streams: int, seconds: float, trying: bool) -> dict[str, Any]:
    """Feed streams for a while, and count what came back."""
    packet = read_series([sample_path("strokes")]).examples[0].values[:1].astype("<f4").tobytes()
    clients = [Client(host, port, answered=place % ANSWERED == 0) for place in range(streams)]
    sockets = {one.socket.fileno(): one for one in clients}
    poll = select.epoll()
    for number in sockets:
        poll.register(number, select.EPOLLIN)
    while not all(one.ready for one in clients):
        for number, _ in poll.poll(1):
            sockets[number].receive()
    begin = time.monotonic() + 0.1
    for place, one in enumerate(clients):
        one.due = begin + INTERVAL * place / streams
    end, tried = begin + WARM_SECONDS + seconds, list[Client]()
    memory: list[float] = []
    spent, asked, generator = computed(pid), 0, time.process_time()
    place, ended = 0, False
    while True:
        now = time.monotonic()
        while clients[place].due <= now and clients[place].due < end:
            clients[place].send(packet, now)
            asked, place = asked + 1, (place + 1) % streams
        if now > end and not ended:
            ended = True
            for one in clients:
                one.ask()
        if all(one.seen >= 0 for one in clients) or now > end + 30 or any(one.code for one in clients):
            break
        if trying and now - begin > len(tried) / TRIED_A_SECOND and now < end:
            tried.append(Client(host, port))
            sockets[tried[-1].socket.fileno()] = tried[-1]
            poll.register(tried[-1].socket.fileno(), select.EPOLLIN)
        if now - begin > WARM_SECONDS + len(memory) * seconds / 10:
            memory.append(resident(pid))
        for number, _ in poll.poll(max(0.0, min(clients[place].due - time.monotonic(), 0.005))):
            one = sockets[number]
            one.receive()
            if one.code and one in tried:
                poll.unregister(number)
                one.socket.close()
    lates = [late for one in clients for late in one.late[round(WARM_SECONDS / INTERVAL) :]]
    return {
        "packets": asked,
        "dropped": asked - sum(max(one.seen, 0) for one in clients),
        "closed": sum(bool(one.code) for one in clients),
        **{f"p{share}": 1000 * float(np.percentile(lates, share)) for share in (50, 95, 99)},
        "largest": 1000 * max(lates),
        "refused": {str(code): sum(one.code == code for one in tried) for code in sorted({one.code for one in tried})},
        "megabytes": memory,
        "server microseconds": 1e6 * (computed(pid) - spent) / asked,
        "client microseconds": 1e6 * (time.process_time() - generator) / asked,
    }


async def kill(host: str, port: int, pid: int, *, streams: int, seconds: float) -> dict[str, Any]:
    """Feed streams, kill a worker, and see that every stream ends as if nothing had happened."""
    values = read_series([sample_path("strokes")]).examples[0].values
    steps = np.resize(values, (round(seconds / INTERVAL), values.shape[1]))
    pauses: list[float] = []

    async def follow(client: Any) -> list[Any]:
        events, longest = [], 0.0
        async with client.stream("gestures", save_seconds=0.5) as stream:
            for step in steps:
                began = time.monotonic()
                events += await stream.push([step.tolist()])
                longest = max(longest, time.monotonic() - began)
                await asyncio.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))
            events += await stream.finish()
        pauses.append(longest)
        return [(event["step"], event["label"]) for event in events]

    async def shoot() -> None:
        await asyncio.sleep(seconds / 2)
        os.kill(family(pid)[-1], signal.SIGKILL)

    async with rnnkit.AsyncClient(f"http://{host}:{port}") as client:
        found, _ = await asyncio.gather(asyncio.gather(*(follow(client) for _ in range(streams))), shoot())
    whole = [one for one in found if [step for step, _ in one] == list(range(1, len(steps) + 1))]
    return {
        "steps": len(steps),
        "whole": len(whole),
        "alike": sum(one == found[0] for one in found),
        "longest pause": sorted(pauses)[-1],
        "median pause": sorted(pauses)[len(pauses) // 2],
    }


def run(row: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        # A killed worker leaves its streams' seats; the others' clients need as many again.
        room = 2 * row["streams"] if row["what"] == "killed" else row["streams"]
        with server(Path(place), streams=room, workers=row["workers"]) as (host, port, pid):
            if row["what"] == "killed":
                return asyncio.run(kill(host, port, pid, streams=row["streams"], seconds=row["seconds"]))
            trying = row["what"] == "above the cap"
            return feed(host, port, pid, streams=row["streams"], seconds=row["seconds"], trying=trying)


if __name__ == "__main__":
    measure("serving-load", ROWS, run)
