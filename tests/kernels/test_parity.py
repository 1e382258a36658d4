"""Every backend against the reference, in float64, over fuzzed shapes and every feature of a call."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rnnkit import LSTM, kernels
from rnnkit.errors import ConfigError
from rnnkit.kernels import BACKENDS, DiagonalScan, GatedScan, aten, diagonal_scan, gated_scan

# Of float64, relative to the largest number: the promise of docs/design.md across backends.
TOLERANCE = 1e-10


def weighted(results: list[Tensor]) -> Tensor:
    """Sum everything with uneven weights, so that no two gradients can change places."""
    kept = [result for result in results if result.is_floating_point() and result.requires_grad]
    return sum(
        ((part * torch.linspace(0.3, 1.7, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in kept),
        start=torch.zeros((), dtype=torch.float64),
    )


def mask_past(outputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Drop what stands past each length, which a backend may leave as it likes."""
    if lengths is None:
        return outputs
    return outputs * (torch.arange(outputs.shape[1]) < lengths[:, None])[..., None]


def measure(call: GatedScan, calls: Any) -> dict[str, Tensor | None]:
    """Return outputs, last state, and the gradient of every tensor of the call."""
    call = calls.fresh(call)
    outputs, state = gated_scan(call)
    outputs = mask_past(outputs, call.lengths)
    total = weighted([outputs, *state])
    if total.requires_grad:
        total.backward()
    found: dict[str, Tensor | None] = {"outputs": outputs, **{f"state {n}": part for n, part in enumerate(state)}}
    tensors = call.tensors()
    found |= {f"gradient {n}": None if t is None else t.grad for n, t in enumerate(tensors)}
    return found


def assert_same(got: dict[str, Tensor | None], expected: dict[str, Tensor | None], *, tolerance: float = TOLERANCE):
    assert got.keys() == expected.keys()
    for name, other in expected.items():
        one = got[name]
        if one is None or other is None:  # no gradient is as good as one of zeros
            assert all(value is None or not value.any() for value in (one, other)), name
            continue
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        scale = max(1.0, other.abs().max().item()) if other.numel() else 1.0
        assert ((one - other).abs() <= tolerance * scale).all(), (name, (one - other).abs().max())


def run_or_refuse(backend: str, call: GatedScan, calls: Any) -> dict[str, Tensor | None] | None:
    """Run by the backend; where it refuses, check that it says why, and that forcing it says so too."""
    reason = BACKENDS[backend].refuses(call)
    with kernels.use(backend):
        if reason is None:
            return measure(call, calls)
        assert len(reason) > 5
        with pytest.raises(ConfigError, match=f"gated_scan cannot run by {backend}: .*") as caught:
            gated_scan(call)
        assert reason in str(caught.value)
    return None


@st.composite
def features(draw: st.DrawFn, formula: str, *, projects: bool) -> dict[str, Any]:
    """Draw sizes, odd ones among them, and the features of a call."""
    batch, time, head_size = draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 3, 4, 7]))
    heads = draw(st.sampled_from([1, 1, 2, "all"]))
    hidden_size = head_size * (heads if isinstance(heads, int) else 1)
    found: dict[str, Any] = {
        "batch": batch,
        "time": time,
        "input_size": draw(st.sampled_from([1, 2, 5])),
        "hidden_size": hidden_size,
        "heads": hidden_size if heads == "all" else heads,
        "bias": draw(st.booleans()),
        "lengths": draw(st.none() | st.lists(st.integers(0, time), min_size=batch, max_size=batch)),
        "hidden_mask": draw(st.booleans()),
        "zoneout": draw(st.booleans()) and formula != "counting",  # a mean of whole numbers is none
        "checkpoint_every": draw(st.sampled_from([None, None, 1, 2, 3, 10])),
    }
    if heads == 1 and projects and draw(st.booleans()):
        found["projection_size"] = draw(st.integers(1, hidden_size))
    return found


@settings(max_examples=20)
@given(data=st.data())
def test_a_backend_gives_what_the_reference_gives(backend, formula, calls, data):
    call = calls.make(formula, **data.draw(features(formula, projects=calls.projects(formula))))
    got = run_or_refuse(backend, call, calls)
    if got is not None:
        with kernels.use("reference"):
            assert_same(got, measure(dataclasses.replace(call, checkpoint_every=None), calls))


@pytest.mark.slow
@settings(max_examples=400)
@given(data=st.data())
def test_a_backend_gives_what_the_reference_gives_at_length(backend, formula, calls, data):
    call = calls.make(formula, **data.draw(features(formula, projects=calls.projects(formula))))
    got = run_or_refuse(backend, call, calls)
    if got is not None:
        with kernels.use("reference"):
            assert_same(got, measure(dataclasses.replace(call, checkpoint_every=None), calls))


PLAIN: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "lengths": {"lengths": [5, 0, 2]},
    "no length": {"lengths": [0, 0, 0]},
    "projection": {"projection_size": 2},
    "checkpoints": {"checkpoint_every": 2, "lengths": [5, 0, 2]},
}


@pytest.mark.parametrize("feature", PLAIN)
def test_aten_runs_what_torch_has(calls, feature):
    # so that the fuzzed comparison above cannot pass by refusing everything
    for formula in ("rnn", "relu-rnn", "lstm", "gru"):
        call = calls.make(formula, **(PLAIN[feature] if feature != "projection" or formula == "lstm" else {}))
        got = run_or_refuse("aten", call, calls)
        assert got is not None
        with kernels.use("reference"):
            assert_same(got, measure(call, calls))


@pytest.mark.parametrize("lengths", [[5, 0, 2], [0, 0, 0], [4, 4, 4], [1, 2, 5]])
@pytest.mark.parametrize("fused", ["rnn", "relu-rnn", "lstm", "gru"])
def test_what_a_gpu_runs_packed_is_what_the_reference_gives(calls, fused, lengths, monkeypatch):
    monkeypatch.setattr(aten, "scan_by_segments", aten.scan_packed)  # a CPU can run it too
    call = calls.make(fused, lengths=lengths)
    with kernels.use("aten"):
        got = measure(call, calls)
    with kernels.use("reference"):
        assert_same(got, measure(call, calls))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hidden_mask": True}, "variational"),
        ({"zoneout": True}, "zoneout"),
        ({"heads": 2}, "block-diagonal"),
        ({"projection_size": 6}, "smaller"),
    ],
)
def test_aten_says_what_torch_lacks(calls, options, reason):
    assert reason in BACKENDS["aten"].refuses(calls.make("lstm", **options))


def test_aten_refuses_one_bias_alone(calls):
    call = dataclasses.replace(calls.make("lstm"), hidden_bias=None)
    assert BACKENDS["aten"].refuses(call) == "torch wants both biases or none"
    with kernels.use("eager"):
        got = measure(call, calls)
    with kernels.use("reference"):
        assert_same(got, measure(call, calls))


def test_the_reference_is_the_formula_written_out():
    # the definition itself, against a loop by hand: GRU, mask, zoneout and lengths
    torch.manual_seed(2)
    x, h = torch.randn(1, 3, 2).double(), torch.randn(1, 2).double()
    W, R = torch.randn(6, 2).double(), torch.randn(6, 2).double()
    b, d, mask, keep = (torch.rand(*shape).double() for shape in ((6,), (6,), (1, 2), (1, 3, 2)))
    from_layer = kernels.GatedScan(
        inputs=x,
        state=(h,),
        lengths=torch.tensor([2]),
        update=kernels_gru,
        formula="",
        input_weight=W,
        hidden_weight=R,
        input_bias=b,
        hidden_bias=d,
        hidden_mask=mask,
        zoneout=(keep,),
    )
    with kernels.use("reference"):
        outputs, (last,) = gated_scan(from_layer)
    for step in range(2):
        i, g = W @ x[0, step] + b, R @ (h[0] * mask[0]) + d
        r, z = torch.sigmoid(i[:2] + g[:2]), torch.sigmoid(i[2:4] + g[2:4])
        n = torch.tanh(i[4:] + r * g[4:])
        new = (1 - z) * n + z * h[0]
        h = (keep[0, step] * h[0] + (1 - keep[0, step]) * new)[None]
        assert torch.allclose(outputs[:, step], h, atol=1e-15)
    assert torch.allclose(last, h, atol=1e-15)


def kernels_gru(input_gates: Tensor, hidden_gates: Tensor, state: tuple[Tensor, ...]):
    (a, b, c), (d, e, f) = input_gates.chunk(3, -1), hidden_gates.chunk(3, -1)
    r, z = torch.sigmoid(a + d), torch.sigmoid(b + e)
    h = (1 - z) * torch.tanh(c + r * f) + z * state[0]
    return h, (h,)


# The diagonal scan


def diagonal_call(batch: int, time: int, size: int) -> DiagonalScan:
    decay, drive = (torch.randn(batch, time, size).double().requires_grad_() for _ in range(2))
    return DiagonalScan(decay=decay, drive=drive, initial=torch.randn(batch, size).double().requires_grad_())


def measure_diagonal(call: DiagonalScan) -> dict[str, Tensor | None]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (call.decay, call.drive, call.initial)]
    hidden = diagonal_scan(call.with_tensors(leaves))
    weighted([hidden]).backward()
    return {"hidden": hidden, **{f"gradient {n}": leaf.grad for n, leaf in enumerate(leaves)}}


@settings(max_examples=20)
@given(batch=st.integers(1, 4), time=st.integers(1, 9), size=st.sampled_from([1, 3, 8]))
def test_a_diagonal_scan_gives_what_the_reference_gives(backend, batch, time, size):
    call = diagonal_call(batch, time, size)
    with kernels.use("reference"):
        expected = measure_diagonal(call)
    if (reason := BACKENDS[backend].refuses(call)) is not None:
        with kernels.use(backend), pytest.raises(ConfigError, match=reason):
            diagonal_scan(call)
        return
    with kernels.use(backend):
        assert_same(measure_diagonal(call), expected)


def test_the_diagonal_reference_is_the_formula_written_out():
    call = DiagonalScan(
        decay=torch.tensor([[[0.5], [2.0]]]), drive=torch.tensor([[[1.0], [-1.0]]]), initial=torch.tensor([[4.0]])
    )
    with kernels.use("reference"):
        assert diagonal_scan(call).flatten().tolist() == [3.0, 5.0]


# Derivatives of derivatives, and asking twice


def runs_of(backend: str, call: Any) -> Any:
    if BACKENDS[backend].refuses(call) is not None:
        pytest.skip("refused, which is tested above")
    return kernels.use(backend)


FEATURES = {**PLAIN, "mask and zoneout": {"hidden_mask": True, "zoneout": True}, "heads": {"heads": 3}}


QUICK = ("plain", "mask and zoneout")


@pytest.mark.parametrize(
    "feature", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FEATURES]
)
def test_second_derivatives_are_those_of_the_formula(backend, formula, calls, feature):
    if feature == "projection" and not calls.projects(formula):
        pytest.skip("the layer has no projection")
    if feature == "mask and zoneout" and formula == "counting":
        pytest.skip("a mean of whole numbers is none")
    call = calls.make(formula, hidden_size=3, input_size=2, time=3, batch=3, **fitting(feature))
    whole = [n for n, tensor in enumerate(call.tensors()) if tensor is not None and tensor.is_floating_point()]

    def function(*leaves: Tensor) -> tuple[Tensor, ...]:
        tensors = list(call.tensors())
        for place, leaf in zip(whole, leaves, strict=True):
            tensors[place] = leaf
        outputs, state = gated_scan(call.with_tensors(tensors))
        return (mask_past(outputs, call.lengths), *(part for part in state if part.is_floating_point()))

    leaves = [call.tensors()[place] for place in whole]
    with runs_of(backend, call):
        # fast mode checks random directions; the second backward pass recomputes by the reference, hence nondet_tol
        assert torch.autograd.gradcheck(function, leaves, fast_mode=True, nondet_tol=1e-10)
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True, nondet_tol=1e-10)


def fitting(feature: str) -> dict[str, Any]:
    return {**FEATURES[feature], **({"lengths": [3, 0, 2]} if feature in ("lengths", "checkpoints") else {})}


def test_second_derivatives_of_a_diagonal_scan(backend):
    call = diagonal_call(2, 3, 3)
    with runs_of(backend, call):
        tensors = (call.decay, call.drive, call.initial)
        assert torch.autograd.gradcheck(lambda *t: diagonal_scan(call.with_tensors(t)), tensors, nondet_tol=1e-10)
        assert torch.autograd.gradgradcheck(lambda *t: diagonal_scan(call.with_tensors(t)), tensors, nondet_tol=1e-10)


@pytest.mark.parametrize("every", [None, 2])
def test_a_retained_graph_gives_the_same_gradients_again(backend, formula, calls, every):
    call = calls.fresh(calls.make(formula, lengths=[5, 0, 2], checkpoint_every=every))
    wanted = [tensor for tensor in call.tensors() if tensor is not None and tensor.requires_grad]
    with runs_of(backend, call):
        outputs, state = gated_scan(call)
        total = weighted([mask_past(outputs, call.lengths), *state])
        first, second, third = (  # the last one may use up what was recorded
            torch.autograd.grad(total, wanted, retain_graph=number < 2, allow_unused=True) for number in range(3)
        )
    for one, two, three in zip(first, second, third, strict=True):
        assert torch.allclose(one, two, atol=TOLERANCE)
        assert torch.equal(two, three)


def test_fused_lstm_in_float32_can_be_differentiated_twice():
    # a gradient penalty; oneDNN's own backward pass cannot
    layer, inputs = LSTM(3, 4), torch.randn(2, 5, 3, requires_grad=True)
    found = []
    for backend in ("aten", "reference"):
        with kernels.use(backend):
            outputs, _ = layer(inputs)
            (slope,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
            found.append(torch.autograd.grad(slope.square().sum(), [inputs, *layer.parameters()]))
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(1, other.abs().max().item())


# Costs, counted rather than timed


class OperationCount(TorchDispatchMode):
    """Counts operations, and the numbers they write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: dict[str, int] = {}
        self.written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.operations[name] = self.operations.get(name, 0) + 1
        if isinstance(result, Tensor) and not func.is_view:
            self.written += result.numel()
        return result


def backward_count(call: Any, backend: str) -> OperationCount:
    with kernels.use(backend):
        outputs = gated_scan(call)[0] if isinstance(call, GatedScan) else diagonal_scan(call)
        total = outputs.sum()
        with OperationCount() as count:
            total.backward()
    return count


@pytest.mark.parametrize("every", [None, 4])
@pytest.mark.parametrize("backend_of", ["eager", "aten"])
def test_the_backward_pass_is_linear_in_time(calls, backend_of, every):
    short, long = (
        backward_count(calls.fresh(calls.make("lstm", time=time, checkpoint_every=every)), backend_of)
        for time in (32, 128)
    )
    assert long.written < 4.3 * short.written
    assert sum(long.operations.values()) < 4.3 * sum(short.operations.values())
    if backend_of == "eager":
        assert long.operations.get("select_backward", 0) == short.operations.get("select_backward", 0)


def test_many_lengths_cost_no_more_than_their_steps(calls):
    # one slice of the inputs a segment would write the whole time for each
    few, many = (
        backward_count(calls.fresh(calls.make("lstm", batch=32, time=128, lengths=lengths)), "aten")
        for lengths in ([128] * 32, list(range(4, 132, 4)))
    )
    assert many.written < 1.5 * few.written


def test_the_backward_pass_of_a_diagonal_scan_is_linear_in_time():
    short, long = (backward_count(diagonal_call(2, time, 3), "eager") for time in (32, 128))
    assert long.written < 4.3 * short.written
    assert long.operations.get("select_backward", 0) == 0


def test_the_weight_gradient_is_one_product(calls):
    short, long = (backward_count(calls.fresh(calls.make("gru", time=time)), "eager") for time in (10, 20))
    products = [count.operations.get("mm", 0) for count in (short, long)]
    assert products[1] - products[0] == 10  # a step multiplies its gates back by the matrix, and no more


def test_a_frozen_weight_costs_no_gradient(calls):
    call = calls.fresh(calls.make("gru", time=4))
    all_of_it = backward_count(call, "eager").operations["mm"]
    call.hidden_weight.requires_grad_(False)
    assert backward_count(call, "eager").operations["mm"] == all_of_it - 1


def test_checkpoints_keep_less(calls):
    kept = []
    for every in (None, 10):
        call = calls.fresh(calls.make("lstm", batch=2, time=100, hidden_size=32, checkpoint_every=every))
        sizes: list[int] = []
        with (
            kernels.use("reference"),
            torch.autograd.graph.saved_tensors_hooks(
                lambda tensor, sizes=sizes: (sizes.append(tensor.numel()), tensor)[1], lambda tensor: tensor
            ),
        ):
            gated_scan(call)
        weights = 4 * 32 * (32 + 4 + 2)  # each stretch names them, none copies them
        kept.append(sum(size for size in sizes if size < weights / 4))
    assert kept[1] < kept[0] / 5
