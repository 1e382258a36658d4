"""What a server counts, for Prometheus; of all workers together where there are several."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Meters:
    """Counters and histograms of a worker."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Histogram(
            "rnnkit_request_seconds",
            "Time from a request to its answer.",
            ("model", "verb", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self.chunks = Histogram(
            "rnnkit_chunk_seconds",
            "Time from a stream's message to its events.",
            ("model",),
            buckets=SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "rnnkit_batch_chunks", "Chunks of streams done with one batch.", buckets=ROWS, registry=registry
        )
        self.streams = Gauge(
            "rnnkit_streams", "Live streams.", ("model",), registry=registry, multiprocess_mode="livesum"
        )
        self.queue = Gauge(
            "rnnkit_queue", "Requests that wait or are answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.refused = Counter(
            "rnnkit_refused_total", "Requests and streams that a limit refused.", ("reason",), registry=registry
        )
        self.dropped = Counter(
            "rnnkit_dropped_total", "Streams ended by a fault of the server.", ("model",), registry=registry
        )

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
