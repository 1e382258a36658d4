"""Peak memory and time to the first step, training on a file of one gigabyte.

The text is WikiText-2's training lines in random order, over and over. Needs RNNKIT_DATA, and 4 GB of disk.
Run alone on the machine: python benchmarks/big_file.py [--commit]
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import measure

CHILD = """
import json, resource, sys, time, rnnkit
from rnnkit.training import Callback

class FirstStep(Callback):
    def on_start(self, trainer):
        self.at = time.perf_counter()

first, began = FirstStep(), time.perf_counter()
rnnkit.train("language-model", sys.argv[1], run=sys.argv[2], vocabulary=sys.argv[3], steps=20, callbacks=[first])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak bytes": peak, "seconds to the first step": round(first.at - began, 1)}))
"""
ROWS = [{"gigabytes": 1, "vocabulary": kind} for kind in ("character", "bpe", "word")]


def write_text(path: Path, size: int) -> None:
    lines = (Path(os.environ["RNNKIT_DATA"]) / "lm" / "wikitext-2" / "train.txt").read_bytes().splitlines(True)
    order = random.Random(1)
    with path.open("wb") as file:
        while file.tell() < size:
            order.shuffle(lines)
            file.writelines(lines)


def run(row: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        text = Path(place) / "big.txt"
        write_text(text, row["gigabytes"] * 10**9)
        command = [sys.executable, "-c", CHILD, str(text), str(Path(place) / "run"), row["vocabulary"]]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {"bytes": text.stat().st_size, **json.loads(output.splitlines()[-1])}


if __name__ == "__main__":
    measure("big-file", ROWS, run)
