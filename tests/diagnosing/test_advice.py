"""Plain words, each with its evidence."""

import math
from typing import Any

import numpy as np
import pytest

from rnnkit.diagnosing import GateUse, Reach
from rnnkit.diagnosing.advice import advise


def reach(growth: float, memory: int) -> Reach:
    return Reach(np.ones(100), growth, memory)


def record(**values: Any) -> dict[str, Any]:
    return {"kind": "train", "clipped_share": 0.1, "update_ratio": 1e-3, **values}


@pytest.mark.parametrize(
    ("reaches", "gates", "records", "expected"),
    [
        ({"stack": reach(0.8, 20)}, {}, [], ["shrink by 20.0% a step back; 20 of 100", "Clipping does nothing"]),
        ({"stack": reach(1.1, 99)}, {}, [], ["grow by 10.0% a step back", "--clip-norm"]),
        ({"stack": reach(math.inf, 99)}, {}, [], ["beyond all numbers: the weights have diverged"]),
        ({"stack": reach(0.97, 99)}, {}, [], ["reach 99 of 100 steps back"]),
        ({}, {"stack.0": [GateUse("forget gate", 0.99, 0.0, 0.95)]}, [], ["the forget gate is open 95% of the time"]),
        ({}, {"stack.0": [GateUse("input gate", 0.01, 0.97, 0.0)]}, [], ["the input gate is shut 97% of the time"]),
        ({}, {}, [record(clipped_share=0.9)], ["90% of the updates were clipped"]),
        ({}, {}, [record(update_ratio=0.1)], ["by 10.0% in the median, which is much"]),
        ({}, {}, [record(update_ratio=1e-6)], ["which is little"]),
    ],
)
def test_it_says_what_was_measured(reaches: Any, gates: Any, records: Any, expected: list[str]):
    (line,) = advise(reaches, gates, records)
    assert all(words in line for words in expected)


def test_a_healthy_run_needs_none():
    assert not [*advise({}, {"stack.0": [GateUse("forget gate", 0.7, 0.1, 0.4)]}, [record(), {"kind": "validation"}])]
