"""Nats a character on tiny Shakespeare after 3, 10 and 30 minutes of training on nanoGPT's split.

The recipes in examples/ were chosen on the last tenth of train.txt, never on valid.txt. Each row trains on all of
train.txt and scores the whole of valid.txt, every character given all before it. Needs RNNKIT_DATA.
Run alone on the machine: python benchmarks/tinyshakespeare.py [--commit]
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import rnnkit
from record import ROOT, measure

SEEDS = {3: (1, 2, 3), 10: (1, 2, 3), 30: (1,)}
ROWS = [{"minutes": minutes, "seed": seed} for minutes, seeds in SEEDS.items() for seed in seeds]


def run(row: dict[str, Any]) -> dict[str, Any]:
    folder = Path(os.environ["RNNKIT_DATA"]) / "lm" / "tinyshakespeare"
    recipe = ROOT / "examples" / f"tinyshakespeare-{row['minutes']}-minutes.toml"
    with tempfile.TemporaryDirectory() as place:
        result = rnnkit.train(
            "language-model",
            folder / "train.txt",
            valid=folder / "valid.txt",
            run=Path(place) / "run",
            config=recipe,
            **row,
        )
    return {
        "nats": result.metrics["nats"],
        "n-gram nats": result.baselines["n-gram"]["nats"],
        "bits_per_character": result.metrics["bits_per_character"],
        "seconds": result.seconds,
        "steps": result.steps,
        "parameters": sum(p.numel() for p in result.model.network.parameters()),
        "recipe": recipe.name,
    }


if __name__ == "__main__":
    measure("tinyshakespeare", ROWS, run)
