"""Microseconds of a step of one gesture stream: served, in Python, as C, in onnxruntime and in torch, same weights.

An LSTM of so many units with its convolution and pooling; medians of interleaved rounds, one thread. Needs a compiler.
Run: python benchmarks/steps.py [--commit]; --table prints what came of it as Markdown.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch

from record import finished, measure
from rnnkit.checkpoint import load, save_model
from rnnkit.export.bundle import export_onnx
from rnnkit.export.plain import export_c
from rnnkit.tasks import TASKS
from serving_load import Client, server

SIZES = (32, 64, 128, 256, 512)
WAYS = ("served", "stream", "C", "onnxruntime", "torch")
ROUNDS, STEPS, WARM = 9, 400, 50
COMPILE = ("cc", "-std=gnu99", "-O3", "-march=native", "main.c", "-o", "program", "-lm")
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "model.h"
static model_stream stream;
static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return 1e6 * (double)at.tv_sec + 1e-3 * (double)at.tv_nsec;
}
int main(int count, char **words) {
    const int steps = count > 1 ? atoi(words[1]) : 1;
    float sample[3] = {0.5f, 0.25f, 10.0f};
    model_reset(&stream);
    for (int step = 0; step < steps / 8; ++step) model_push(&stream, sample);
    const double began = now();
    for (int step = 0; step < steps; ++step) model_push(&stream, sample);
    printf("%.6f %g\n", (now() - began) / steps, stream.probabilities[0]);
    return 0;
}
"""
POINT = np.array([[0.5, 0.25, 10.0]], dtype=np.float32)


def timed(step: Callable[[], Any]) -> float:
    """Return the microseconds of a step."""
    for _ in range(WARM):
        step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return 1e6 * (time.perf_counter() - began) / STEPS


def of_torch(folder: Path) -> Callable[[], Any]:
    task: Any = load(folder)
    network, state = task.network.eval(), [task.network.initial_state(1)]

    def step() -> None:
        with torch.inference_mode():
            scores, state[0] = network.running(torch.from_numpy(POINT[None]), state[0])
            scores.softmax(-1).numpy()

    return step


def of_onnxruntime(task: Any, folder: Path) -> Callable[[], Any]:
    export_onnx(task, folder)
    facts = json.loads((folder / "bundle.json").read_text())["graphs"]["model"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / facts["file"], options, providers=["CPUExecutionProvider"])
    state = dict(np.load(folder / "state.npz"))

    def step() -> None:
        scores, *after = session.run(None, {facts["inputs"][0]: POINT[None], **state})
        state.update(zip(facts["state"], after, strict=True))
        np.exp(scores - scores.max())

    return step


def of_c(task: Any, folder: Path) -> Callable[[], float]:
    export_c(task, folder, name="model")
    (folder / "main.c").write_text(MAIN)
    subprocess.run(COMPILE, cwd=folder, check=True)
    command = [str(folder / "program"), str(10 * STEPS)]
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


def run(row: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    task_class = TASKS["series-classification"]
    config = task_class.config_class(hidden_size=row["hidden"], direct=False)
    task: Any = task_class.prepare(task_class.read([task_class.demo_data()], config), config)
    task.network.eval()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        save_model(task, root / "gestures")
        in_torch = of_torch(root / "gestures")
        in_onnxruntime = of_onnxruntime(task, root / "onnx")
        in_c = of_c(task, root / "c")
        task.pack()
        stream = task.stream(candidates=1)
        with server(root, streams=1, workers=1) as (host, port, _):
            client = Client(host, port, answered=True)
            while not client.ready:
                client.receive()

            def served() -> None:
                count = len(client.late)
                client.send(POINT.tobytes(), time.monotonic())
                while len(client.late) == count:
                    client.receive()

            for _ in range(ROUNDS):
                found["served"].append(timed(served))
                found["stream"].append(timed(lambda: stream.push(POINT)))
                found["C"].append(in_c())
                found["onnxruntime"].append(timed(in_onnxruntime))
                found["torch"].append(timed(in_torch))
    return {"microseconds": {way: median(times) for way, times in found.items()}, "rounds": ROUNDS}


def table() -> None:
    """Print what came of it as Markdown."""
    print(f"| units | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for row in finished("steps"):
        cells = [f"{row['microseconds'][way]:.1f}" for way in WAYS]
        print(f"| {row['row']['hidden']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure("steps", [{"hidden": size} for size in SIZES], run, table=table)
