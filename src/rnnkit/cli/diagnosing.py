"""`rnnkit diagnose`: where gradients vanish or explode, how far a memory reaches, what gates do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from rnnkit import diagnosing
from rnnkit.checkpoint import Run, writing
from rnnkit.cli.answering import open_model
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, Common, Machine
from rnnkit.cli.output import print_json, print_rows
from rnnkit.diagnosing import Diagnosis, Look, Shown
from rnnkit.errors import ConfigError
from rnnkit.figures import gradients_by_distance, layers_over_training, text_heat_map

DEMO = Group("Demonstration", sort_key=2)
DEMO_LAYERS, DEMO_FOLDER = ("rnn", "lstm", "gru"), Path("runs/diagnose-demo")


def diagnose(
    model: Path | None = None,
    data: list[Path] | None = None,
    /,
    *,
    text: str | None = None,
    output: Path | None = None,
    demo: Annotated[bool, Parameter(group=DEMO, negative=())] = False,
    layers: Annotated[list[str] | None, Parameter(group=DEMO, consume_multiple=True, negative=())] = None,
    length: Annotated[int, Parameter(group=DEMO)] = 100,
    steps: Annotated[int, Parameter(group=DEMO)] = 2000,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """See where gradients vanish or explode, how far the memory reaches, and what the gates do.

    Args:
        model: A run or model folder.
        data: Files to read; without any, the run's own validation data.
        text: Look at the states and gates, token by token, as this is read.
        output: Folder for the pictures; `diagnosis` in the run unless given.
        demo: Train layers on problems that need a memory, and see which of them remember; needs no model.
        layers: Names of layers; rnn, lstm and gru unless given.
        length: Steps to remember over.
        steps: Updates at most for each problem and layer.
        common: How to report.
        machine: Where to compute.
    """
    if demo:
        if model is not None or text is not None:
            raise ConfigError("--demo needs no model and no text; leave them out")
        folder = DEMO_FOLDER if output is None else output
        named = [one for words in layers or DEMO_LAYERS for one in words.split(",")]
        found = diagnosing.demonstrate(named, length=length, steps=steps, folder=folder)
        _report_demo(found, folder, common)
        return
    if model is None:
        raise ConfigError("no model is named; expected a run's folder, or --demo")
    if layers is not None:
        raise ConfigError("--layers is for --demo; a model has the layers that it was trained with")
    task, run = open_model(model, machine), Run(model)
    folder = output if output is not None else model / "diagnosis"
    if text is not None:
        if data:
            raise ConfigError("--text and files are both given; expected one of them")
        look = diagnosing.look_at(task, text)
        _report_look(look, _draw_look(look, folder, title=f"{model}: {text[:40]!r}"), common)
        return
    records = run.records() if run.log.is_file() else []
    if data:
        examples = task.encode(task.read([str(path) for path in data], task.config))
    elif (run.tokens / "valid").is_dir():
        examples = task.load_data(run.tokens / "valid")
    else:
        raise ConfigError(f"{model} keeps no validation data; expected a data file: rnnkit diagnose {model} FILE")
    found = diagnosing.diagnose(task, examples, records)
    _report(found, _draw(found, records, folder, title=str(model)), common, title=str(model))


def _draw(found: Diagnosis, records: Sequence[Mapping[str, Any]], folder: Path, *, title: str) -> list[Path]:
    pictures = [folder / "gradients.png"]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        norms = {name: reach.norms for name, reach in found.reaches.items()}
        gradients_by_distance(norms, pictures[0], title=f"{title}: what reaches the end of what was read before")
        if any(one.get("layers") for one in records):
            pictures.append(folder / "layers.png")
            layers_over_training(records, pictures[1], title=f"{title}: layers over training")
    return pictures


def _draw_look(look: Look, folder: Path, *, title: str) -> list[Path]:
    pictures = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, parts in look.layers.items():
            pictures.append(folder / f"text-{re.sub(r'[^A-Za-z0-9]+', '-', name)}.png")
            text_heat_map(look.steps, parts, pictures[-1], title=f"{title}, {name}")
    return pictures


def _report(found: Diagnosis, pictures: Sequence[Path], common: Common, *, title: str) -> None:
    if common.json:
        print_json(
            {
                "gradients": {
                    name: {"growth": reach.growth, "memory": reach.memory, "norms": reach.norms.tolist()}
                    for name, reach in found.reaches.items()
                },
                "layers": found.layers,
                "advice": found.advice,
                "pictures": [str(path) for path in pictures],
            }
        )
        return
    if found.reaches:
        print_rows(
            f"{title}: gradient of the last output by what was read before",
            ("", "steps", "factor a step back", "a hundredth is left after"),
            [
                [name, f"{len(reach.norms):,}", f"{reach.growth:.3f}", f"{reach.memory:,} steps"]
                for name, reach in found.reaches.items()
            ],
        )
    if found.layers:
        print_rows(
            "gates over all steps and units",
            ("layer", "gate", "mean", "shut (< 0.05)", "open (> 0.95)"),
            [
                [one.name, gate.name, f"{gate.mean:.2f}", f"{gate.shut:.1%}", f"{gate.open:.1%}"]
                for one in found.layers
                for gate in one.gates
            ],
            left=("gate",),
        )
    for line in found.advice:
        print(line)
    print(f"drawn: {', '.join(map(str, pictures))}")


def _report_look(look: Look, pictures: Sequence[Path], common: Common) -> None:
    if common.json:
        layers = {
            name: {part: values.tolist() for part, values in parts.items()} for name, parts in look.layers.items()
        }
        print_json({"steps": look.steps, "layers": layers, "pictures": [str(path) for path in pictures]})
        return
    print(f"{len(look.steps):,} steps: {' '.join(look.steps)}")
    print(f"drawn: {', '.join(map(str, pictures))}")


def _report_demo(found: Sequence[Shown], folder: Path, common: Common) -> None:
    if common.json:
        reached = ({"growth": one.reach.growth, "memory": one.reach.memory} for one in found)
        problems = [{**vars(one), "reach": reach} for one, reach in zip(found, reached, strict=True)]
        print_json({"problems": problems, "folder": folder})
        return
    print_rows(
        f"problems over {found[0].length} steps",
        ("problem", "layer", "error", "without a memory", "solved", "updates", "clipped", "a step back", "reaches"),
        [
            [
                one.problem,
                one.layer,
                f"{one.error:.4f}",
                f"{one.chance:.4f}",
                "yes" if one.solved else "no",
                f"{one.updates:,}",
                f"{one.clipped:.0%}",
                f"x {one.reach.growth:.3f}",
                f"{one.reach.memory:,} steps",
            ]
            for one in found
        ],
        left=("layer",),
    )
    print("Clipping bounds gradients that explode; it brings none back that has vanished: see the two last columns.")
    print(f"drawn: {', '.join(str(folder / f'{name}.png') for name in dict.fromkeys(one.problem for one in found))}")
