"""Transcripts of public recordings: errors on test sets after so many minutes of training, and live streams.

Each row trains on the training recordings, is chosen on the validation ones, and transcribes the test ones once.
Options are the defaults, but for those below; they were chosen on validation data, never on a test set: recordings of
single words have whole words for tokens and smaller batches. Needs RNNKIT_DATA. Run alone on the machine:
python benchmarks/speech.py [--commit]
"""

import csv
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rnnkit
from record import measure
from rnnkit.checkpoint import load_baseline
from rnnkit.tasks import LanguageModel, SpeechRecognition
from rnnkit.tasks.speech import Search

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
WITHOUT = "fsdd-without-"
WORDS = {"vocabulary": "word", "batch_seconds": 10.0}
LESS_VARIED = {"augment_noise": 0.1, "augment_speed": 0.08, "augment_join": 0.0, "mask_bands": 0, "mask_time": 0.0}
OPTIONS: dict[str, dict[str, Any]] = {"default": {}, "words": WORDS, "words, less varied": {**WORDS, **LESS_VARIED}}
ROWS = [
    *({"data": "fsdd-connected", "head": "ctc", "minutes": 15, "seed": seed} for seed in (1, 2, 3)),
    {"data": "fsdd-isolated", "head": "ctc", "minutes": 5, "seed": 1},
    *(
        {"data": "fsdd-isolated", "head": "ctc", "minutes": 5, "seed": seed, "options": "words, less varied"}
        for seed in (1, 2, 3)
    ),
    *({"data": WITHOUT + speaker, "head": "ctc", "minutes": 5, "seed": 1, "options": "words"} for speaker in SPEAKERS),
    {"data": "asterisk-en", "head": "ctc", "minutes": 20, "seed": 1},
    *({"data": "fsdd-connected", "head": head, "minutes": 10, "seed": 1} for head in ("ctc", "transducer")),
]
CHUNKS = (20, 100, 500)  # milliseconds
STREAMED = 100  # recordings
LANGUAGE_STEPS = 500


def run(row: dict[str, Any]) -> dict[str, Any]:
    options = OPTIONS[row.get("options", "default")]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train, valid, test = parts(row["data"], folder)
        result = rnnkit.train(
            "speech",
            train,
            valid=valid,
            run=folder / "run",
            minutes=row["minutes"],
            seed=row["seed"],
            head=row["head"],
            **options,
        )
        if result.stopped_by is not None:
            raise KeyboardInterrupt  # what a stopped run has learnt is no row
        model = result.model
        assert isinstance(model, SpeechRecognition)
        began = time.perf_counter()
        recordings = model.read([test], model.config)
        data = model.encode(recordings)
        compared = model.compare(load_baseline(model, result.run), data)
        found = {
            "options": options,
            "test": {"greedy": compared.metrics, **compared.baselines},
            "remarks": [one.replace(f"{test.parent}/", "") for one in compared.remarks],
            "test_seconds": time.perf_counter() - began,
            "validation": result.metrics,
            "seconds": result.seconds,
            "steps": result.steps,
            "parameters": sum(p.numel() for p in model.network.parameters()),
        }
        if row["data"] == "fsdd-connected":
            search = Search(beam=8, language_model=language_model(train, valid, folder))
            found["test"]["beam 8"] = model.score(data, search=Search(beam=8))
            found["test"]["beam 8, language model"] = model.score(data, search=search)
            some = [one.samples(model.sample_rate) for one in recordings.examples[:STREAMED]]
            found["streams"] = {f"{chunk} ms": streamed(model, some, chunk) for chunk in CHUNKS}
        if row["data"] == "asterisk-en":
            found["training"] = model.score(model.encode(model.read([train], model.config)))
        return found


def parts(name: str, folder: Path) -> tuple[Path, Path, Path]:
    """Return the lists of a set's training, validation and test recordings; those without a speaker are made."""
    root = Path(os.environ["RNNKIT_DATA"]) / "speech"
    if not name.startswith(WITHOUT):
        start = root / ("asterisk-en" if name == "asterisk-en" else "fsdd")
        before = "connected-" if name == "fsdd-connected" else ""
        train, valid, test = (start / f"{before}{part}.tsv" for part in ("train", "valid", "test"))
        return train, valid, test
    left_out = name.removeprefix(WITHOUT)
    rows = {part: read_list(root / "fsdd" / f"{part}.tsv") for part in ("train", "valid", "test")}
    others = {part: [row for row in some if row["speaker"] != left_out] for part, some in rows.items()}
    train, valid, test = (folder / f"{part}.tsv" for part in rows)
    write_list(train, [*others["train"], *others["test"]], root / "fsdd")
    write_list(valid, others["valid"], root / "fsdd")
    write_list(test, [row for some in rows.values() for row in some if row["speaker"] == left_out], root / "fsdd")
    return train, valid, test


def read_list(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_list(path: Path, rows: Sequence[dict[str, str]], root: Path) -> None:
    path.write_text("path\ttext\n" + "".join(f"{root / row['path']}\t{row['text']}\n" for row in rows))


def language_model(train: Path, valid: Path, folder: Path) -> LanguageModel:
    """Train a small language model on the texts of the training recordings alone."""
    texts = [folder / "train.txt", folder / "valid.txt"]
    for source, path in zip((train, valid), texts, strict=True):
        path.write_text("".join(f"{row['text']}\n" for row in read_list(source)))
    model = rnnkit.train(
        "language-model",
        texts[0],
        valid=texts[1],
        run=folder / "texts",
        steps=LANGUAGE_STEPS,
        hidden_size=128,
        document_separator="\n",
    ).model
    assert isinstance(model, LanguageModel)
    return model


def streamed(model: SpeechRecognition, recordings: Sequence[np.ndarray], milliseconds: int) -> dict[str, Any]:
    """Stream recordings in chunks on one thread; compare the texts with those of `predict`, and time each chunk."""
    threads = torch.get_num_threads()
    offline = [one.text for one in model.predict(recordings)]
    torch.set_num_threads(1)
    size, times, online = milliseconds * model.sample_rate // 1000, [], []
    for samples in recordings:
        stream, events = model.stream(), []
        for first in range(0, len(samples), size):
            began = time.perf_counter()
            events += stream.push(samples[first : first + size])
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        events += stream.finish()
        times.append(time.perf_counter() - began)
        online.append(" ".join(event.text for event in events if event.kind == "final"))
    torch.set_num_threads(threads)
    middle, late = 1000 * np.percentile(times, (50, 99))
    return {
        "texts that differ": sum(one != other for one, other in zip(offline, online, strict=True)),
        "real_time_factor": sum(times) / (sum(map(len, recordings)) / model.sample_rate),
        "p50_ms": float(middle),
        "p99_ms": float(late),
    }


if __name__ == "__main__":
    measure("speech", ROWS, run)
