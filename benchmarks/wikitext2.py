"""Word perplexity on WikiText-2's test split after 15 and 30 minutes of training, static and adapting.

The recipe was chosen on valid.txt, on which the constants of cache and dynamic evaluation are tuned as well; test.txt
is scored whole, every word given all before it, a line end being a word (<eos>). Needs RNNKIT_DATA.
Run alone on the machine: python benchmarks/wikitext2.py [--commit]
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import rnnkit
from record import ROOT, measure
from rnnkit.checkpoint import Run, load_baseline
from rnnkit.tasks import LanguageModel

SEEDS = {15: (1,), 30: (1, 2, 3)}
ROWS = [{"minutes": minutes, "seed": seed} for minutes, seeds in SEEDS.items() for seed in seeds]
RECIPE = ROOT / "examples" / "wikitext-2-30-minutes.toml"


def run(row: dict[str, Any]) -> dict[str, Any]:
    folder = Path(os.environ["RNNKIT_DATA"]) / "lm" / "wikitext-2"
    with tempfile.TemporaryDirectory() as place:
        home = Run(Path(place) / "run")
        result = rnnkit.train(
            "language-model", folder / "train.txt", valid=folder / "valid.txt", run=home.folder, config=RECIPE, **row
        )
        model = result.model
        assert isinstance(model, LanguageModel)
        speeds = [record["speed"] for record in home.records() if record["kind"] == "train"]
        return {
            "validation perplexity": result.metrics["perplexity"],
            "test perplexity": perplexities(model, home, folder / "test.txt"),
            "tokens per second, median": round(sorted(speeds)[len(speeds) // 2]),
            "seconds": result.seconds,
            "steps": result.steps,
            "parameters": sum(p.numel() for p in model.network.parameters()),
            "recipe": RECIPE.name,
        }


def perplexities(model: LanguageModel, home: Run, path: Path) -> dict[str, Any]:
    """Score the test text in every way."""
    data = model.encode(model.read([path], model.config))
    valid, train = (model.load_data(home.tokens / name) for name in ("valid", "train"))
    ngram = load_baseline(model, home.folder)
    found: dict[str, Any] = {
        "n-gram": model.score_baseline(ngram, data)["perplexity"],
        "static": model.score(data)["perplexity"],
    }
    for name, follow in {"cache": None, "cache and dynamic": train}.items():
        began = time.perf_counter()
        metrics, scored = model.score_adapting(data, valid=valid, train=follow, cache=True)
        found[name] = metrics["perplexity"]
        if follow is not None:  # the same pass, without the cache's opinion
            found["dynamic"] = float(np.exp(scored.own.mean()))
        constants = {"sharpness": scored.adaptation.sharpness, "rate": scored.adaptation.rate, **scored.weights}
        found[f"{name}: constants"] = constants | {"seconds": round(time.perf_counter() - began)}
    metrics, scored = model.score_adapting(data, valid=valid, cache=True, ngram=ngram)
    found["cache and n-gram"], found["cache and n-gram: constants"] = metrics["perplexity"], scored.weights
    return found


if __name__ == "__main__":
    measure("wikitext-2", ROWS, run)
