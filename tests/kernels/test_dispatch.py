"""Who runs an operation: forcing one, explaining the choice, telling a fallback once."""

import logging
import threading
from typing import Any

import pytest
import torch

import rnnkit.kernels
from rnnkit import GRU, LAYERS, LSTM, GatedLayer, Stack, kernels
from rnnkit.errors import ConfigError
from rnnkit.kernels import BACKENDS
from rnnkit.kernels.core import core

INPUTS = torch.zeros(2, 5, 3)
FIRST = "aten" if core is None else "native"  # that runs a plain LSTM


class Blocks(GRU):
    """What neither C++ nor torch's operations have: a product of its own in a step."""

    heads = 2

    def update(self, input_gates, hidden_gates, state):
        h, _ = super().update(input_gates, hidden_gates, state)
        h = h @ torch.eye(h.shape[1])
        return h, (h,)


@pytest.fixture
def nothing_told(monkeypatch):
    monkeypatch.setattr(rnnkit.kernels, "_told", set())


def backend_of(layer: Any) -> str:
    (run,) = kernels.explain(layer, INPUTS)
    return run.backend


def test_the_first_that_accepts_runs_and_the_others_say_why_not():
    (run,) = kernels.explain(Blocks(3, 4), INPUTS)
    assert (run.backend, list(run.refused)) == ("eager", ["native", "aten", "triton"])
    assert run.refused["aten"] == "torch has no fused operation for this formula"
    assert str(run) == "gated_scan (2, 5, 3): eager" + "".join(f"; not {n}: {why}" for n, why in run.refused.items())
    with kernels.use("aten"):
        (run,) = kernels.explain(LSTM(3, 4), INPUTS)
    assert str(run) == "gated_scan (2, 5, 3): aten"


@pytest.mark.skipif(core is None, reason="rnnkit was installed without its C++ kernels")
def test_one_that_could_run_yields_to_a_quicker_one_unless_forced():
    layer, inputs = LSTM(3, 4), torch.zeros(64, 40, 3)
    with torch.no_grad():
        (run,) = kernels.explain(layer, inputs)
        assert run.backend == "aten"
        assert "quicker" in run.refused["native"]
        with kernels.use("native"):
            assert kernels.explain(layer, inputs)[0].backend == "native"
        assert kernels.explain(layer, inputs, None, torch.full((64,), 30))[0].backend == "native"
    assert kernels.explain(layer, inputs)[0].backend == "native"


def test_explain_lists_every_operation_in_order():
    runs = kernels.explain(Stack(LSTM, 3, 4, num_layers=2, bidirectional=True), INPUTS)
    assert [run.shape for run in runs] == [(2, 5, 3), (2, 5, 3), (2, 5, 8), (2, 5, 8)]


def test_explain_counts_a_checkpointed_call_once():
    def train(inputs: torch.Tensor) -> None:
        LSTM(3, 4, checkpoint_every=2)(inputs)[0].sum().backward()

    assert len(kernels.explain(train, INPUTS)) == 1


def test_explain_inside_explain_keeps_the_two_apart():
    inner: list[Any] = []

    def outer(inputs: torch.Tensor) -> None:
        LSTM(3, 4)(inputs)
        inner.extend(kernels.explain(GRU(3, 4), inputs))
        LSTM(3, 4)(inputs)

    assert len(kernels.explain(outer, INPUTS)) == 2
    assert len(inner) == 1


def test_explain_stops_recording_after_an_error():
    with pytest.raises(ZeroDivisionError):
        kernels.explain(lambda: 1 // 0)
    assert rnnkit.kernels._record.get() is None


def test_use_forces_a_backend_and_ends_with_the_block(backend):
    layer = LSTM(3, 4)
    with kernels.use(backend):
        assert backend_of(layer) == backend
    assert backend_of(layer) == FIRST


def test_the_inner_use_wins_until_it_ends():
    layer = LSTM(3, 4)
    with kernels.use("reference"):
        with kernels.use("eager"):
            assert backend_of(layer) == "eager"
        assert backend_of(layer) == "reference"


def test_use_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), kernels.use("reference"):
        raise ZeroDivisionError
    assert backend_of(LSTM(3, 4)) == FIRST


def test_use_of_no_backend_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=f"no kernel backend 'cuda'; choose one of {', '.join(BACKENDS)}"):
        kernels.use("cuda").__enter__()


def test_forcing_one_that_refuses_gives_its_reason():
    with kernels.use("aten"), pytest.raises(ConfigError, match="cannot run by aten: torch has no zoneout"):
        GRU(3, 4, zoneout=0.1)(INPUTS)


def test_a_backward_pass_stays_with_the_backend_of_its_forward_pass(backend, monkeypatch):
    layer = LSTM(3, 4, checkpoint_every=2)
    with kernels.use(backend):
        outputs, _ = layer(INPUTS)
    ran = []
    for name, one in BACKENDS.items():
        scan = one.gated_scan
        monkeypatch.setattr(one, "gated_scan", lambda call, name=name, scan=scan: (ran.append(name), scan(call))[1])
    outputs.sum().backward()
    assert set(ran) == {backend}


def test_use_in_one_thread_does_not_reach_another():
    found: list[str] = []
    with kernels.use("reference"):
        thread = threading.Thread(target=lambda: found.append(backend_of(LSTM(3, 4))))
        thread.start()
        thread.join()
        assert backend_of(LSTM(3, 4)) == "reference"
    assert found == [FIRST]


def test_a_fallback_is_logged_once(nothing_told, caplog):
    with caplog.at_level(logging.INFO, logger="rnnkit.kernels"):
        for _ in range(3):
            Blocks(3, 4)(INPUTS)
    reasons = kernels.explain(Blocks(3, 4), INPUTS)[0].refused.values()
    assert caplog.messages == [f"gated_scan runs by eager: {reason}" for reason in reasons]


def test_missing_kernels_are_told_once_and_seen(nothing_told, monkeypatch, caplog):
    monkeypatch.setattr("rnnkit.kernels.native.core", None)
    for _ in range(2):
        with torch.no_grad():
            LSTM(3, 4)(INPUTS)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "installed without its C++ kernels" in record.message


def test_torch_func_runs_by_the_reference_and_says_why():
    layer = LSTM(3, 4)
    found: list[Any] = []

    def run(inputs: torch.Tensor) -> torch.Tensor:
        found.extend(kernels.explain(layer, inputs))
        return layer(inputs)[0].sum()

    torch.func.grad(run)(INPUTS)
    assert found[0].backend == "reference"
    assert set(found[0].refused) == {"native", "aten", "triton", "eager"}
    assert "torch.func" in found[0].refused["eager"]


# Autocast


def refused(backend: str, layer: Any) -> bool:
    with kernels.use(backend):
        try:
            layer(torch.zeros(1, 2, 3))
        except ConfigError:
            return True
    return False


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_autocast_is_close_to_float32_and_keeps_the_state(backend, name, every, given):
    if every and not issubclass(LAYERS[name], GatedLayer):
        pytest.skip("its scan has no steps to recompute")
    layer = LAYERS[name](3, 8, checkpoint_every=every)
    inputs = torch.randn(4, 6, 3).to(given)
    if refused(backend, layer):
        pytest.skip("refused, with and without autocast")
    state = tuple(torch.randn_like(part) for part in layer.initial_state(4))
    lengths = torch.tensor([6, 0, 3, 6])
    results = []
    for low in (False, True):
        layer.zero_grad()
        with kernels.use(backend), torch.autocast("cpu", torch.bfloat16, enabled=low):
            outputs, last = layer(inputs if low else inputs.float(), state, lengths)
        outputs.float().sum().backward()
        assert [part.dtype for part in last] == [torch.float32] * len(last)
        results.append(
            [outputs.detach(), *(part.detach() for part in last), *(parameter.grad for parameter in layer.parameters())]
        )
    for exact, low in zip(*results, strict=True):
        # bfloat16 has 8 bits: 0.4 % a rounding, over six steps; mLSTM divides by a maximum, which has a kink, and by a
        # norm over two units a head
        assert torch.isfinite(low).all()
        assert (low - exact).abs().max() <= (0.2 if name == "mlstm" else 0.05) * max(1, exact.abs().max().item())


def test_second_derivatives_under_autocast_are_finite(backend):
    layer, inputs = LSTM(3, 4), torch.randn(2, 5, 3, requires_grad=True)
    with kernels.use(backend), torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(inputs)
        (slope,) = torch.autograd.grad(outputs.float().sum(), inputs, create_graph=True)
    slope.square().sum().backward()
    assert inputs.grad is not None
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().max() > 0


def test_a_layer_of_no_time_or_batch_runs_nothing():
    assert kernels.explain(LSTM(3, 4), torch.zeros(2, 0, 3)) == []
    assert kernels.explain(LSTM(3, 4), torch.zeros(0, 5, 3)) == []
