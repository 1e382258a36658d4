"""Signals that ask a run to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_caught(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` with the number of a signal, Ctrl-C or SIGTERM, instead of ending the process.

    Only a program's main thread gets signals; in another one the block just runs.

    Args:
        stop: Lets the step in progress end.

    Yields:
        Once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda caught, _: stop(caught)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
