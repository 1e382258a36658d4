"""Where gradients vanish or explode, how far a memory reaches, and what gates do."""

from rnnkit.diagnosing.demonstration import Shown, demonstrate
from rnnkit.diagnosing.gates import GateUse, gate_uses, walk
from rnnkit.diagnosing.model import Diagnosis, Look, diagnose, look_at
from rnnkit.diagnosing.problems import PROBLEMS, Problem, solve
from rnnkit.diagnosing.reach import Reach, gradient_reach

__all__ = [
    "PROBLEMS",
    "Diagnosis",
    "GateUse",
    "Look",
    "Problem",
    "Reach",
    "Shown",
    "demonstrate",
    "diagnose",
    "gate_uses",
    "gradient_reach",
    "look_at",
    "solve",
    "walk",
]
