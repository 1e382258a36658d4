"""The options of training: the same for every task, with defaults that suit it, from files and command lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

from rnnkit.config import merge, read_toml
from rnnkit.errors import ConfigError
from rnnkit.tasks.base import Task

BUDGETS = ("minutes", "epochs", "steps")
DEFAULT_MINUTES = 5.0


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train."""

    minutes: float | None = None
    """Train for this wall time, validation included; the schedule ends on time. 5 where no budget is given."""
    epochs: float | None = None
    """Train for so many passes over the data."""
    steps: int | None = None
    """Train for so many updates."""
    max_epochs: float | None = None
    """Where time is the budget, end after so many passes over the data if that is sooner; unset does not."""
    batch_size: int = 32
    """Sequences side by side."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), or stochastic gradient descent with momentum."""
    learning_rate: float = 0.006
    """At its highest; about 1 suits sgd."""
    schedule: Literal["one-cycle", "cosine", "step", "plateau", "constant"] = "one-cycle"
    """After the warm-up: one-cycle falls in a line to 0 at the end (Smith 2018), cosine in half a wave, step to a tenth
    at half and again at three quarters of the run, plateau to a half whenever validation has not improved."""
    warmup_share: float = 0.03
    """Share of the run over which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """L2 as decoupled weight decay on matrices, not on biases and embeddings."""
    decay_embeddings: bool = False
    """Decay the embeddings too."""
    beta2: float = 0.99
    """AdamW's memory of squared gradients."""
    momentum: float = 0.9
    """Of sgd."""
    clip_norm: float | None = 1.0
    """Scale the gradient down to this norm where it is longer (Pascanu et al. 2013); none does not."""
    clip_value: float | None = None
    """Cut every entry of the gradient at this size; unset does not."""
    label_smoothing: float = 0.0
    """Share of the target's probability spread over all answers in the training loss."""
    averaging: Literal["ema", "triggered"] | None = None
    """Validate and keep an average of the weights: ema, an exponential one, or triggered, their plain mean from where
    validation stops falling (NT-ASGD with sgd, Merity et al. 2018); none keeps the weights themselves."""
    average_decay: float = 0.999
    """Of the exponential average."""
    trigger_patience: int = 5
    """A triggered average begins when a validation is no better than the best one up to so many before."""
    rate_decay: float = 1.0
    """A layer's learning rate is that of the layer above it times this; Howard and Ruder 2018 take 0.38 to go on from
    another model."""
    unfreeze_share: float = 0.0
    """Share of the run over which the layers begin to learn, one after another from the top; 0 starts all at once."""
    accumulate: int = 1
    """Batches added up for one update."""
    validations: int = 10
    """How often to validate over the run; each keeps a checkpoint, and the model if it is the best. Once a third of the
    minutes so far went to it, one is put off, but for the last."""
    patience: int | None = None
    """Stop when this many validations in a row have brought no better model; unset does not."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Number format of the products: auto takes bfloat16 where the machine has it in hardware, else float32."""
    seed: int = 1
    """Of the weights, the dropout and the order of the data."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    devices: int = 1
    """Processes that share each batch, a GPU or a part of the processor each."""
    threads: int | None = None
    """Processor threads; unset is one a core."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) > 1:
            raise ConfigError(f"{' and '.join(budgets)} are both given; expected one of {', '.join(BUDGETS)}")
        sizes = ("batch_size", "learning_rate", "clip_norm", "clip_value", "accumulate", "validations", "patience")
        counts = ("threads", "devices", "trigger_patience")
        for name in (*BUDGETS, "max_epochs", *sizes, *counts):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value}; expected a number above 0")
        for name in ("warmup_share", "label_smoothing", "beta2", "momentum", "average_decay", "unfreeze_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a share in [0, 1)")
        if not 0 < self.rate_decay <= 1:
            raise ConfigError(f"rate_decay is {self.rate_decay}; expected more than 0, up to 1")
        if self.batch_size % self.devices:
            raise ConfigError(f"batch_size is {self.batch_size}; expected a multiple of devices, {self.devices}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more, below 2**63")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay is {self.weight_decay}; expected 0 or more")

    @property
    def budget_seconds(self) -> float | None:
        """Seconds to train, where time is the budget."""
        if self.epochs is None and self.steps is None:
            return 60 * (DEFAULT_MINUTES if self.minutes is None else self.minutes)
        return None


@cache
def training_class(task_class: type[Task]) -> type[TrainingConfig]:
    """Return the TrainingConfig whose defaults are the task's own."""
    defaults = task_class.training_defaults
    if not defaults:
        return TrainingConfig
    hints = get_type_hints(TrainingConfig)
    fields = [(name, hints[name], field(default=value)) for name, value in defaults.items()]
    made = make_dataclass("TrainingConfig", fields, bases=(TrainingConfig,), frozen=True)
    made.__module__ = TrainingConfig.__module__
    return made


def sections(task_class: type[Task]) -> dict[str, type]:
    """Name the sections of a task's options file, with the config each holds."""
    return {"model": task_class.config_class, "training": training_class(task_class)}


def read_configs(
    task_class: type[Task], path: str | Path | None, options: Mapping[str, Any], *, model: Any = None
) -> dict[str, Any]:
    """Build a task's and training's options from a TOML file and options that override it.

    Args:
        task_class: The task.
        path: The file, or None.
        options: Name to value.
        model: The task's config to start from; None takes its defaults.

    Returns:
        "model": the task's config, "training": the TrainingConfig.

    Raises:
        ConfigError: If an option is unknown or out of range.
    """
    parts = sections(task_class)
    tables = read_toml(path) if path is not None else {}
    if tables.pop("task", task_class.name) != task_class.name:
        raise ConfigError(f"{path} is for another task than {task_class.name}")
    tables.pop("data", None)
    for name in parts.keys() & options.keys():
        raise ConfigError(f"{name} is a section of options; give its options by their own names")
    written, given = merge(parts, tables, where=str(path)), merge(parts, options, where="options")
    budget = dict.fromkeys(BUDGETS) if any(options.get(name) is not None for name in BUDGETS) else {}
    configs = {}
    if model is not None:
        named = {*tables, *tables.get("model", {})}
        kept = {name: value for name, value in vars(written["model"]).items() if name in named}
        written["model"] = replace(model, **kept)
    for name, base in written.items():
        values = vars(given[name])
        chosen = {option: values[option] for option in options if option in values}
        configs[name] = replace(base, **(budget if name == "training" else {}) | chosen)
    return configs
