"""Sentences a second of sentiment and tagging, how long a person waits for the first, and the time of a live point.

Networks of the default options, trained for a few steps: how long an answer takes does not depend on how good it is.
Sentences are answered one at a time and 64 at once; a row is the median over rounds of all validation sentences. The
wait is that of a new process from its call to its answer, beside that for the libraries alone and for them and the
model. A live point is one of a stroke pushed into a stream, with and without the random convolutions beside the
network. Needs RNNKIT_DATA. Run alone on the machine: python benchmarks/answering.py [--commit]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rnnkit
from record import measure
from rnnkit.tasks import SeriesClassification
from startup import seconds

DATA = {
    "text-classification": ("sentiment/sst2", "tsv"),
    "tagging": ("ner/wikigold", "conll"),
}
SENTENCE = "Angela Merkel visited a charming little car factory in Nagoya, and it was pure joy."
ROUNDS = 7
SENTENCES = 512
STROKES = 40
ROWS: list[dict[str, Any]] = [{"task": task, "batch": batch} for task in DATA for batch in (1, 64)]
ROWS += [{"task": task, "wait": what} for task in DATA for what in ("libraries", "model", "answer")]
ROWS += [{"task": "series-classification", "stream": what} for what in ("network", "network and random convolutions")]


def run(row: dict[str, Any]) -> dict[str, Any]:
    if "stream" in row:
        return live_points(direct=row["stream"] != "network")
    folder, suffix = DATA[row["task"]]
    root = Path(os.environ["RNNKIT_DATA"]) / folder
    with tempfile.TemporaryDirectory() as place:
        result = rnnkit.train(
            row["task"], root / f"train.{suffix}", valid=root / f"valid.{suffix}", run=Path(place) / "run", steps=20
        )
        if "wait" in row:
            return wait(row["wait"], str(result.run))
        model = result.model
        examples = model.read([root / f"valid.{suffix}"], model.config).examples[:SENTENCES]
        texts = [one.text if row["task"] == "text-classification" else " ".join(one.words) for one in examples]
        return throughput(model, texts, row["batch"])


def throughput(model: Any, texts: list[str], batch: int) -> dict[str, Any]:
    """Answer the texts some at a time, and keep the median round."""
    batches = [texts[first : first + batch] for first in range(0, len(texts), batch)]
    rounds, waits = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for part in batches:
            before = time.perf_counter()
            model.predict(part)
            waits.append(1000 * (time.perf_counter() - before))
        rounds.append(len(texts) / (time.perf_counter() - begun))
    return {
        "sentences_per_second": statistics.median(rounds),
        "milliseconds": statistics.median(waits),
        "milliseconds_99": statistics.quantiles(waits, n=100)[-1],
        "sentences": len(texts),
        "words": sum(len(text.split()) for text in texts) / len(texts),
    }


def live_points(*, direct: bool) -> dict[str, Any]:
    """Push the points of the bundled strokes into streams one by one."""
    with tempfile.TemporaryDirectory() as place:
        model = rnnkit.train(
            "gesture", SeriesClassification.demo_data(), run=Path(place) / "run", steps=20, direct=direct
        ).model
    assert isinstance(model, SeriesClassification)
    waits = []
    for series in model.read_inputs(model.demo_data())[:STROKES]:
        stream = model.stream()
        for point in series:
            before = time.perf_counter()
            stream.push(point[None])
            waits.append(1e6 * (time.perf_counter() - before))
    return {"microseconds": statistics.median(waits), "microseconds_99": statistics.quantiles(waits, n=100)[-1]}


def wait(what: str, folder: str) -> dict[str, Any]:
    """Time new processes: the libraries alone, the model too, the whole of `rnnkit predict`."""
    commands = {
        "libraries": [sys.executable, "-c", "import rnnkit; rnnkit.load"],
        "model": [sys.executable, "-c", f"import rnnkit; rnnkit.load({folder!r})"],
        "answer": [sys.executable, "-m", "rnnkit", "predict", folder, "--text", SENTENCE],
    }
    times = seconds(commands[what])
    return {"median seconds": statistics.median(times), "worst": max(times)}


if __name__ == "__main__":
    measure("answering", ROWS, run)
