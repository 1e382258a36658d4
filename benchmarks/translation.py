"""Translations of public data: BLEU and chrF of test sets after so many minutes of training, trivial ones beside them.

Each row trains on the training pairs, is chosen on the validation pairs, and translates each test set once, by a beam
of 5. Options are the defaults, but for those below; they were chosen on validation data, never on a test set. Needs
RNNKIT_DATA. Run alone on the machine: python benchmarks/translation.py [--commit]
"""

import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rnnkit
from record import measure
from rnnkit.checkpoint import load_baseline
from rnnkit.data.texts import read_bytes
from rnnkit.decoding.beam import Beam
from rnnkit.tasks.translation.task import Translator


@dataclass(frozen=True)
class Data:
    """A set: its files, by name of the part, and how to learn from it."""

    folder: str
    files: dict[str, tuple[str, ...]]
    minutes: float
    seeds: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


PARTS = ("train", "valid", "test2016", "test2017")
DATA = {
    "multi30k-de-en": Data(
        "multi30k-en-de", {part: (f"{part}.de", f"{part}.en") for part in PARTS}, 30, (1, 2, 3), {"lowercase": True}
    ),
    "multi30k-en-de": Data("multi30k-en-de", {part: (f"{part}.en", f"{part}.de") for part in PARTS}, 30, (1,)),
    "tatoeba-en-fr": Data(
        "tatoeba-en-fr",
        {"train": ("train.tsv.gz",), "valid": ("valid.tsv",), "test": ("test.tsv",)},
        20,
        (1,),
        {"header": "absent"},
    ),
}
ROWS = [{"data": name, "minutes": one.minutes, "seed": seed} for name, one in DATA.items() for seed in one.seeds]
SPEEDS = [(rows, beam) for rows in (1, 64) for beam in (1, 5)]
TIMED = {1: 100, 64: 512}  # sentences


def run(row: dict[str, Any]) -> dict[str, Any]:
    data = DATA[row["data"]]
    root = Path(os.environ["RNNKIT_DATA"]) / "translation" / data.folder
    paths = {part: [root / name for name in names] for part, names in data.files.items()}
    with tempfile.TemporaryDirectory() as place:
        result = rnnkit.train(
            "translation",
            paths.pop("train"),
            valid=paths.pop("valid"),
            run=Path(place) / "run",
            minutes=row["minutes"],
            seed=row["seed"],
            **data.options,
        )
        if result.stopped_by is not None:
            raise KeyboardInterrupt  # what a stopped run has learnt is no row
        model = result.model
        assert isinstance(model, Translator)
        baseline = load_baseline(model, result.run)
        tests = {part: model.encode(model.read(files, model.config)) for part, files in paths.items()}
        some = read_bytes(next(iter(tests.values())).source_texts)
        return {
            "options": data.options,
            "tests": {part: scored(model, baseline, one) for part, one in tests.items()},
            "sentences_per_second": {
                f"batch {rows}, beam {beam}": speed(model, some, rows, beam) for rows, beam in SPEEDS
            },
            "validation": result.metrics,
            "seconds": result.seconds,
            "steps": result.steps,
            "parameters": sum(p.numel() for p in model.network.parameters()),
        }


def scored(model: Translator, baseline: Any, data: Any) -> dict[str, Any]:
    compared = model.compare(baseline, data)
    return {"metrics": compared.metrics, "baselines": compared.baselines, "remarks": compared.remarks}


def speed(model: Translator, texts: list[str], rows: int, beam: int) -> float:
    """Translate some sentences, so many at once, and return how many were done in a second."""
    texts = texts[: TIMED[rows]]
    began = time.perf_counter()
    for first in range(0, len(texts), rows):
        model.predict(texts[first : first + rows], beam=Beam(size=beam))
    return len(texts) / (time.perf_counter() - began)


if __name__ == "__main__":
    measure("translation", ROWS, run)
