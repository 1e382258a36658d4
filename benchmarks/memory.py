"""The adding problem over 400 steps: which layers remember that long, and how far their gradients reach.

Each row trains one layer with 64 units on batches of 64 new sequences, 6,000 at most, and tests it on 512 others.
Run: python benchmarks/memory.py [--commit]
"""

from typing import Any

from record import measure
from rnnkit.diagnosing import demonstrate

CLASSIC = ("rnn", "lstm", "gru", "minlstm")
OTHERS = ("mingru", "indrnn", "slstm")
ROWS = [
    *({"problem": "adding", "layer": layer, "length": 400, "seed": seed} for seed in (1, 2, 3) for layer in CLASSIC),
    *({"problem": "adding", "layer": layer, "length": 400, "seed": 1} for layer in OTHERS),
]
STEPS = 6000


def run(row: dict[str, Any]) -> dict[str, Any]:
    (found,) = demonstrate(
        [row["layer"]], problems=[row["problem"]], length=row["length"], steps=STEPS, seed=row["seed"]
    )
    return {
        "error": found.error,
        "without a memory": found.chance,
        "solved": found.solved,
        "updates": found.updates,
        "clipped": found.clipped,
        "growth": found.reach.growth,
        "memory": found.reach.memory,
    }


if __name__ == "__main__":
    measure("memory", ROWS, run)
