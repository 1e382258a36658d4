"""The thread that runs models: live streams as batches, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rnnkit.streaming import StreamPool, Work


class Engine:
    """Works what streams ask, many at once.

    Args:
        batch_seconds: What the first of a batch may wait for others.
        observe: Is told of each batch how many chunks were done with it.

    Attributes:
        streams: How many could send something: once all have, nobody is waited for.
    """

    def __init__(self, *, batch_seconds: float, observe: Callable[[int], None] = lambda _: None) -> None:
        self.batch_seconds, self.observe, self.streams = batch_seconds, observe, 0
        self._pool = StreamPool()
        self._inbox: deque[tuple[asyncio.Future[Any], Work]] = deque()
        self._arrived, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="rnnkit-engine", daemon=True)
        self._thread.start()

    async def work(self, work: Work) -> list[Any]:
        """Work a stream's chunk.

        Args:
            work: As `Stream.taking` returns it.

        Returns:
            The events.

        Raises:
            RnnkitError: If the stream refuses it.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._inbox.append((future, work))
        if not self._arrived.is_set():
            self._arrived.set()
        return await future

    def stop(self) -> None:
        """End the thread once it has done what it has begun."""
        self._stopping = True
        self._arrived.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            if not len(self._pool):
                self._arrived.wait()
                self._gather()
            self._arrived.clear()
            while self._inbox:
                self._pool.begin(*self._inbox.popleft())
            self._round()

    def _gather(self) -> None:
        """Wait for those who may send something too, but not for long."""
        end = time.monotonic() + self.batch_seconds
        while len(self._inbox) < self.streams and not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.001))

    def _round(self) -> None:
        done = self._pool.step()
        if done:
            self.observe(len(done))
            by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
            for future, result in done.items():
                by_loop.setdefault(future.get_loop(), []).append((future, result))  # type: ignore[attr-defined]
            for loop, results in by_loop.items():
                loop.call_soon_threadsafe(_deliver, results)


def _deliver(results: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if future.done():  # whoever waited has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
