"""What every layer promises, over all of LAYERS and over layers as a user writes them; nothing is left out."""

import copy
import itertools
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnkit import kernels
from rnnkit.errors import ConfigError, ShapeError
from rnnkit.layers import LAYERS, LSTM, OPTIONS, DiagonalLayer, GatedLayer, Layer
from rnnkit.sequences import reverse_within_lengths

INPUT, HIDDEN = 5, 6  # three heads divide 6
# The promise of docs/design.md across chunks, batches and backends, relative to the largest number (1 at least).
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

both_precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def make(layer_class: type[Layer], *, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    """Build a layer in eval mode, the same each time, whose numbers are all away from their starting values."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        layer = layer_class(INPUT, HIDDEN, **options).to(dtype).eval()
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return layer


def make_inputs(batch, time, *, dtype=torch.float64):
    return torch.randn(batch, time, INPUT, dtype=dtype)


def make_state(layer, batch):
    return tuple(torch.randn_like(part) for part in layer.initial_state(batch))


def assert_close(got, expected, *, tolerance=None):
    got, expected = (values if isinstance(values, tuple) else (values,) for values in (got, expected))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        limit = TOLERANCE[other.dtype] if tolerance is None else tolerance
        scale = max(1.0, other.abs().max().item()) if other.numel() else 1.0
        assert ((one - other).abs() <= limit * scale).all(), (one - other).abs().max()


def run_in_chunks(layer, inputs, state, lengths, cuts):
    """Run between consecutive cuts, handing the state on."""
    outputs = []
    for start, stop in itertools.pairwise([0, *cuts, inputs.shape[1]]):
        within = None if lengths is None else (lengths - start).clamp(0, stop - start)
        part, state = layer(inputs[:, start:stop], state, within)
        outputs.append(part)
    return torch.cat(outputs, 1), state


def gradients_of(layer: Any, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Any, ...]:
    """Return the gradients of a weighted sum of all that comes out, by the inputs, the state and every parameter."""
    layer.zero_grad()
    inputs = inputs.detach().requires_grad_()
    state = tuple(torch.full_like(part, 0.1).detach().requires_grad_() for part in layer.initial_state(len(inputs)))
    outputs, last = layer(inputs, state, lengths)
    weights = torch.linspace(0.5, 1.5, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    ((outputs * weights).sum() + sum(part.square().sum() for part in last)).backward()
    return (
        inputs.grad,
        *(part.grad for part in state),
        *(p.grad for _, p in layer.named_parameters() if p.grad is not None),
    )


# Time


@both_precisions
@settings(max_examples=15)
@given(data=st.data())
def test_any_chunking_gives_what_the_whole_gives(layer_class, dtype, data):
    time, batch = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    cuts = sorted(data.draw(st.lists(st.integers(0, time), max_size=4)))  # a chunk may be empty
    lengths = data.draw(st.none() | st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(torch.tensor))
    layer = make(layer_class, dtype=dtype)
    inputs, state = make_inputs(batch, time, dtype=dtype), make_state(layer, batch)
    whole, last = layer(inputs, state, lengths)
    chunked, chunked_last = run_in_chunks(layer, inputs, state, lengths, cuts)
    assert_close((chunked, *chunked_last), (whole, *last))


@both_precisions
def test_one_step_at_a_time_gives_what_the_whole_gives(layer_class, dtype):
    layer = make(layer_class, dtype=dtype)
    inputs, state = make_inputs(2, 17, dtype=dtype), make_state(layer, 2)
    whole, last = layer(inputs, state)
    stepped, stepped_last = run_in_chunks(layer, inputs, state, None, range(1, 17))
    assert_close((stepped, *stepped_last), (whole, *last))


def test_chunks_carry_gradients_back_through_the_state(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 6)
    whole = gradients_of(layer, inputs)

    class Chunked(torch.nn.Module):
        initial_state = staticmethod(layer.initial_state)
        named_parameters = staticmethod(layer.named_parameters)

        def forward(self, inputs, state, lengths):
            return run_in_chunks(layer, inputs, state, lengths, [1, 4])

    assert_close(gradients_of(Chunked(), inputs), whole)


@pytest.mark.slow
def test_twenty_thousand_single_steps_do_not_drift(layer_class):
    # float32 rounding does not accumulate in a stable layer: the last steps are as close to float64 as the first
    exact = make(layer_class)
    single = copy.deepcopy(exact).float()
    inputs = make_inputs(2, 20_000)
    with torch.inference_mode():
        truth, _ = exact(inputs)
        whole, _ = single(inputs.float())
        stepped, _ = run_in_chunks(single, inputs.float(), None, None, range(1, 20_000))
        rounded, _ = copy.deepcopy(single).double()(inputs.float().double())
    error, response = ((values - truth).abs().amax((0, 2)) for values in (stepped, rounded))
    # a norm of few units that are almost alike magnifies one rounding of the weights as much, in float64 too
    limit = max(1e-5, 20 * response.max().item())
    assert error.max() < limit
    assert error[-1000:].max() < 10 * max(error[:1000].max(), response.max())
    assert_close(stepped, whole, tolerance=limit)


# Lengths


@both_directions
@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf")])
def test_padding_reaches_neither_outputs_nor_state_nor_gradients(layer_class, reverse, padding):
    layer, lengths = make(layer_class, reverse=reverse), torch.tensor([4, 0, 7, 1])
    clean = make_inputs(4, 7)
    dirty = torch.where((torch.arange(7) < lengths[:, None])[..., None], clean, padding)
    for got, expected in zip(gradients_of(layer, dirty, lengths), gradients_of(layer, clean, lengths), strict=True):
        assert torch.equal(got, expected)
    outputs, last = layer(dirty, lengths=lengths)
    assert_close((outputs, *last), (layer(clean, lengths=lengths)[0], *layer(clean, lengths=lengths)[1]), tolerance=0)
    assert (outputs[torch.arange(7) >= lengths[:, None]] == 0).all()
    assert (gradients_of(layer, dirty, lengths)[0][torch.arange(7) >= lengths[:, None]] == 0).all()


@both_precisions
@both_directions
def test_a_row_alone_gives_what_it_gives_in_a_batch(layer_class, reverse, dtype):
    layer, lengths = make(layer_class, dtype=dtype, reverse=reverse), torch.tensor([3, 8, 1, 8, 5])
    inputs, state = make_inputs(5, 8, dtype=dtype), make_state(layer, 5)
    outputs, last = layer(inputs, state, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_last = layer(inputs[row : row + 1, :length], tuple(part[row : row + 1] for part in state))
        assert_close(outputs[row : row + 1, :length], alone)
        assert_close(tuple(part[row : row + 1] for part in last), alone_last)


def test_lengths_of_the_whole_time_change_nothing(layer_class):
    layer, inputs = make(layer_class), make_inputs(3, 5)
    outputs, last = layer(inputs, lengths=torch.full((3,), 5))
    expected, expected_last = layer(inputs)
    assert_close((outputs, *last), (expected, *expected_last))


@both_directions
def test_a_length_of_zero_passes_the_state_through(layer_class, reverse):
    layer = make(layer_class, reverse=reverse)
    state = make_state(layer, 2)
    outputs, last = layer(make_inputs(2, 4), state, torch.tensor([0, 3]))
    assert all(torch.equal(new[0], old[0]) for new, old in zip(last, state, strict=True))
    assert not any(torch.equal(new[1], old[1]) for new, old in zip(last, state, strict=True))
    assert (outputs[0] == 0).all()


def test_lengths_of_zero_alone_have_gradients(layer_class):
    layer = make(layer_class)
    by_inputs, *rest = gradients_of(layer, make_inputs(2, 4), torch.tensor([0, 0]))
    assert by_inputs is None or (by_inputs == 0).all()
    assert all((by_state == 0.2).all() for by_state in rest[: len(layer.state_names)])  # of 0.1 squared


def test_no_time_and_no_batch_are_legal(layer_class):
    layer = make(layer_class)
    state = make_state(layer, 3)
    outputs, last = layer(make_inputs(3, 0), state, torch.zeros(3, dtype=torch.int64))
    assert outputs.shape == (3, 0, HIDDEN)
    assert_close(last, state, tolerance=0)
    outputs, last = layer(make_inputs(0, 4))
    assert outputs.shape == (0, 4, HIDDEN)
    assert [part.shape for part in last] == [(0, size) for size in layer.state_sizes()]


def test_reverse_is_the_flipped_sequence_within_its_length(layer_class):
    backward = make(layer_class, reverse=True)
    forward = layer_class(INPUT, HIDDEN).double()
    forward.load_state_dict(backward.state_dict())
    inputs, lengths, state = make_inputs(3, 6), torch.tensor([6, 2, 0]), make_state(forward, 3)
    outputs, last = backward(inputs, state, lengths)
    flipped, flipped_last = forward(reverse_within_lengths(inputs, lengths), state, lengths)
    assert_close((outputs, *last), (reverse_within_lengths(flipped, lengths), *flipped_last))


def test_lengths_on_any_integer_type_are_taken(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 4)
    expected, _ = layer(inputs, lengths=torch.tensor([4, 2]))
    assert torch.equal(layer(inputs, lengths=torch.tensor([4, 2], dtype=torch.int32))[0], expected)


# State


def test_the_state_is_never_kept(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 4)
    first, _ = layer(inputs)
    again, _ = layer(inputs)
    assert torch.equal(first, again)


def test_a_learnt_initial_state_gets_gradients(layer_class):
    if layer_class.begins_anew:
        pytest.skip("refused, which is tested below")
    layer = make(layer_class, learn_initial_state=True)
    outputs, _ = layer(make_inputs(3, 4), lengths=torch.tensor([4, 2, 1]))
    outputs.sum().backward()
    assert len(layer.initial) == len(layer.state_names)
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in layer.initial)
    assert_close(layer.initial_state(3), tuple(part.expand(3, -1) for part in layer.initial), tolerance=0)


def test_a_learnt_initial_state_is_what_a_given_one_would_be(layer_class):
    if layer_class.begins_anew:
        pytest.skip("refused, which is tested below")
    layer, inputs = make(layer_class, learn_initial_state=True), make_inputs(2, 4)
    given_state = tuple(part.detach().repeat(2, 1) for part in layer.initial)
    assert_close(layer(inputs)[0], layer(inputs, given_state)[0], tolerance=0)


def test_a_state_dict_goes_round(layer_class):
    learns = not layer_class.begins_anew
    first = make(layer_class, learn_initial_state=learns)
    second = layer_class(INPUT, HIDDEN, learn_initial_state=learns)
    second.double().load_state_dict(first.state_dict())
    inputs = make_inputs(2, 4)
    assert torch.equal(first(inputs)[0], second(inputs)[0])


def test_a_copy_is_independent_and_gives_the_same(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 4)
    expected, _ = layer(inputs)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert torch.equal(copied(inputs)[0], expected)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_can_be_pickled(name):
    layer, inputs = make(LAYERS[name]), make_inputs(2, 4)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(inputs)[0], layer(inputs)[0])


# Repeatability


def train_a_little(layer_class, **options):
    torch.manual_seed(3)
    layer = layer_class(INPUT, HIDDEN, **options)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        outputs, _ = layer(torch.randn(4, 6, INPUT), lengths=torch.tensor([6, 1, 4, 0]))
        outputs.square().sum().backward()
        optimizer.step()
    return layer.state_dict()


def test_the_same_seed_trains_the_same_layer(layer_class):
    options = {"input_dropout": 0.3}
    if issubclass(layer_class, GatedLayer):
        options |= {"variational_dropout": 0.3, "weight_dropout": 0.3, "zoneout": 0.1}
    first, second = (train_a_little(layer_class, **options) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


# Ways of calling


def test_inputs_need_not_be_contiguous(layer_class):
    layer, inputs = make(layer_class, dtype=torch.float32), make_inputs(3, 6, dtype=torch.float32)
    state = make_state(layer, 3)
    odd_inputs = inputs.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    odd_state = tuple(part.t().contiguous().t() for part in state)
    assert not odd_inputs.is_contiguous()
    lengths = torch.tensor([6, 3, 5])
    assert_close(layer(odd_inputs, odd_state, lengths)[0], layer(inputs, state, lengths)[0])


def test_inference_mode_gives_the_same(layer_class):
    layer, inputs = make(layer_class), make_inputs(3, 6)
    expected, expected_last = layer(inputs, lengths=torch.tensor([6, 0, 2]))
    with torch.inference_mode():
        outputs, last = layer(inputs, lengths=torch.tensor([6, 0, 2]))
    assert_close((outputs, *last), (expected, *expected_last))
    assert not outputs.requires_grad


def test_a_frozen_layer_still_passes_gradients_on(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 5)
    expected = gradients_of(layer, inputs)[: 1 + len(layer.state_names)]
    got = gradients_of(layer.requires_grad_(False), inputs)
    assert_close(got, expected)


def test_each_parameter_can_be_trained_alone(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 5).requires_grad_()
    layer(inputs)[0].square().sum().backward()
    expected = {name: parameter.grad for name, parameter in layer.named_parameters()}
    for name, gradient in expected.items():
        layer.zero_grad()
        for other, parameter in layer.named_parameters():
            parameter.requires_grad_(other == name)
        layer(inputs.detach())[0].square().sum().backward()
        assert_close(layer.get_parameter(name).grad, gradient)


def test_every_parameter_gets_a_gradient(layer_class):
    layer = make(layer_class, learn_initial_state=not layer_class.begins_anew)
    layer(make_inputs(2, 5))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@both_directions
def test_torch_func_gives_the_gradients_of_backward(layer_class, reverse):
    layer, inputs = make(layer_class, reverse=reverse), make_inputs(2, 4)

    def loss(parameters, row):
        return torch.func.functional_call(layer, parameters, (row[None],))[0].square().sum()

    parameters = dict(layer.named_parameters())
    by_row = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, inputs)
    for row in range(2):
        layer.zero_grad()
        loss(parameters, inputs[row]).backward()
        for name, parameter in parameters.items():
            assert_close(by_row[name][row], parameter.grad)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # which torch itself calls
def test_forward_mode_gives_the_directional_derivative(layer_class):
    layer, inputs = make(layer_class), make_inputs(2, 4)
    direction = torch.randn_like(inputs)
    forward = torch.func.jvp(lambda values: layer(values)[0], (inputs,), (direction,))[1]
    step = 1e-6
    difference = (layer(inputs + step * direction)[0] - layer(inputs - step * direction)[0]) / (2 * step)
    assert_close(forward, difference.detach(), tolerance=1e-7)  # error of the difference: step squared and rounding


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_of_low_precision_stays_in_it(layer_class, dtype):
    layer, inputs = make(layer_class), make_inputs(2, 6)
    expected, _ = layer(inputs)
    outputs, last = layer.to(dtype)(inputs.to(dtype))
    assert {outputs.dtype, *(part.dtype for part in last)} == {dtype}
    # 8 bits of mantissa in bfloat16: a few units in the last place over six steps
    assert (outputs.double() - expected).abs().max() < (0.1 if dtype == torch.bfloat16 else 0.02)


@both_directions
def test_autocast_is_close_and_keeps_the_precision_of_the_state(layer_class, reverse):
    layer, inputs = make(layer_class, dtype=torch.float32, reverse=reverse), make_inputs(3, 6, dtype=torch.float32)
    lengths = torch.tensor([6, 0, 2])
    expected, _ = layer(inputs, lengths=lengths)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, last = layer(inputs, lengths=lengths)
    outputs.float().sum().backward()
    assert {part.dtype for part in last} <= {torch.float32}
    # bfloat16 has 8 bits: 0.4 % a rounding, over six steps
    assert (outputs - expected).abs().max() < 0.05 * expected.abs().max().clamp(min=1)
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


# Refusals


def test_inputs_of_another_shape_are_refused_with_both_shapes(layer_class):
    layer = make(layer_class)
    with pytest.raises(ShapeError, match=rf"{layer_class.__name__} got inputs \(4, 12, 64\).*\(batch, time, {INPUT}\)"):
        layer(torch.zeros(4, 12, 64, dtype=torch.float64))
    with pytest.raises(ShapeError, match=rf"\(12, {INPUT}\)"):
        layer(torch.zeros(12, INPUT, dtype=torch.float64))


def test_a_state_of_another_shape_is_refused_with_both_shapes(layer_class):
    layer = make(layer_class)
    with pytest.raises(ShapeError, match=r"got state \[.*\(2, 77\)\]"):
        layer(make_inputs(2, 4), (*make_state(layer, 2), torch.zeros(2, 77, dtype=torch.float64)))
    with pytest.raises(ShapeError, match="got state Tensor"):
        layer(make_inputs(2, 4), torch.zeros(2, HIDDEN, dtype=torch.float64))
    if not layer.state_names:
        return  # there is no other state than ()
    state, size = make_state(layer, 3), layer.state_sizes()[0]
    with pytest.raises(ShapeError, match=rf"\(3, {size}\).*expected a tuple of \[\(2, {size}\)"):
        layer(make_inputs(2, 4), state)
    with pytest.raises(ShapeError, match=r"got state \[\]"):
        layer(make_inputs(2, 4), ())


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([5, 4]), "from 4 to 5; expected 0 to 4"),
        (torch.tensor([-1, 4]), "from -1 to 4"),
        (torch.tensor([4]), r"\(1,\); expected whole numbers \(2,\)"),
        (torch.tensor([4.0, 2.0]), "torch.float32"),
    ],
)
def test_wrong_lengths_are_refused_with_their_values(layer_class, lengths, message):
    with pytest.raises(ShapeError, match=message):
        make(layer_class)(make_inputs(2, 4), lengths=lengths)


def test_sizes_below_one_are_refused(layer_class):
    with pytest.raises(ConfigError, match="input_size=0"):
        layer_class(0, HIDDEN)
    with pytest.raises(ConfigError, match="hidden_size=-2"):
        layer_class(INPUT, -2)


# Options: the table of options.py, walked


def applies(option, layer_class):
    return OPTIONS[option].takes(layer_class)


def options_for(option):
    return {option: OPTIONS[option].example}


each_option = pytest.mark.parametrize("option", OPTIONS)


@each_option
def test_an_option_works_or_is_refused_by_name(layer_class, option):
    if not applies(option, layer_class):
        with pytest.raises(
            ConfigError, match=f"{layer_class.__name__} does not take {option}=.*: {OPTIONS[option].lacks}"
        ):
            layer_class(INPUT, HIDDEN, **options_for(option))
        return
    layer = layer_class(INPUT, HIDDEN, **options_for(option))
    inputs = torch.randn(3, 7, INPUT, requires_grad=True)
    outputs, last = layer(inputs, lengths=torch.tensor([7, 0, 3]))
    (outputs.square().sum() + sum(part.square().sum() for part in last)).backward()
    assert torch.isfinite(outputs).all()
    gradients = [tensor.grad for tensor in (inputs, *layer.parameters())]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@each_option
def test_an_option_keeps_whole_and_chunks_equal(layer_class, option):
    if not applies(option, layer_class):
        pytest.skip("refused, which is tested above")
    layer = make(layer_class, **options_for(option))
    inputs, state, lengths = make_inputs(3, 7), make_state(layer, 3), torch.tensor([7, 0, 4])
    whole, last = layer(inputs, state, lengths)
    chunked, chunked_last = run_in_chunks(layer, inputs, state, lengths, [1, 2, 5])
    assert_close((chunked, *chunked_last), (whole, *last))


@each_option
def test_an_option_out_of_range_is_refused_with_its_value(layer_class, option):
    if not applies(option, layer_class):
        pytest.skip("refused, which is tested above")
    wrong = "far too much"
    with pytest.raises(ConfigError, match=f"{option}='{wrong}'; expected "):
        layer_class(INPUT, HIDDEN, **{option: wrong})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("zoneout", 1.0),
        ("zoneout", -0.1),
        ("weight_dropout", float("nan")),
        ("projection_size", 0),
        ("checkpoint_every", -3),
        ("initialization", "kaiming"),
    ],
)
def test_a_value_out_of_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=f"LSTM got {option}={value!r}"):
        LSTM(INPUT, HIDDEN, **{option: value})


def test_a_forget_bias_without_biases_is_refused():
    with pytest.raises(ConfigError, match="forget_bias=2.0 with bias=False"):
        LSTM(INPUT, HIDDEN, forget_bias=2.0, bias=False)


def test_heads_that_do_not_divide_are_refused_with_the_sizes():
    class Pair(GatedLayer):
        num_gates, state_names, heads, projects = 1, ("h",), 2, True

        def update(self, input_gates, hidden_gates, state):
            return input_gates, (input_gates,)

    with pytest.raises(ConfigError, match="hidden_size=5; its 2 heads"):
        Pair(INPUT, 5)
    with pytest.raises(ConfigError, match="projection_size=4; its 2 heads"):
        Pair(INPUT, 6, projection_size=4)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 50])
def test_checkpointing_gives_the_same_gradients(layer_class, every):
    if not applies("checkpoint_every", layer_class):
        pytest.skip("refused, which is tested above")
    inputs, lengths = make_inputs(3, 7), torch.tensor([7, 0, 4])
    plain, checkpointed = (make(layer_class, checkpoint_every=every_of).train() for every_of in (None, every))
    assert_close(gradients_of(checkpointed, inputs, lengths), gradients_of(plain, inputs, lengths))


def test_checkpointing_sees_the_same_masks(layer_class):
    if not applies("checkpoint_every", layer_class):
        pytest.skip("refused, which is tested above")
    options: dict[str, Any] = {"variational_dropout": 0.3, "weight_dropout": 0.3, "zoneout": 0.3}
    found, inputs = [], make_inputs(3, 7)
    for every in (None, 3):
        layer = make(layer_class, checkpoint_every=every, **options).train()
        torch.manual_seed(5)
        found.append(gradients_of(layer, inputs))
    assert_close(found[1], found[0])


def calls_made(layer, inputs, monkeypatch):
    """Return the calls that reach the kernels: the masks are in them."""
    calls = []

    def spy(call):
        calls.append(call)
        return kernels.gated_scan(call)

    monkeypatch.setattr("rnnkit.layers.gated.gated_scan", spy)
    layer(inputs)
    return calls


def test_variational_dropout_is_one_mask_for_all_steps(layer_class, monkeypatch):
    if not applies("variational_dropout", layer_class):
        pytest.skip("refused, which is tested above")
    layer = make(layer_class, variational_dropout=0.4).train()
    (call,) = calls_made(layer, make_inputs(200, 3), monkeypatch)
    assert call.hidden_mask.shape == (200, HIDDEN)  # no time: every step multiplies by the same
    assert sorted(set(call.hidden_mask.flatten().tolist())) == pytest.approx([0, 1 / 0.6])
    assert call.hidden_mask.mean() == pytest.approx(1, abs=0.1)  # 1200 draws: 4 standard errors
    assert calls_made(layer.eval(), make_inputs(2, 3), monkeypatch)[0].hidden_mask is None


def test_input_dropout_is_one_mask_for_all_steps(layer_class):
    layer = make(layer_class, input_dropout=0.5).train()
    seen = []
    layer.scan = lambda inputs, state, lengths: (seen.append(inputs), (inputs, state))[1]
    layer(torch.ones(3, 4, INPUT).double())
    (dropped,) = seen
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}


def test_dropout_is_drawn_anew_for_each_call_and_not_at_all_in_eval(layer_class):
    layer, inputs = make(layer_class, input_dropout=0.5).train(), make_inputs(3, 4)
    assert not torch.equal(layer(inputs)[0], layer(inputs)[0])
    layer.eval()
    assert torch.equal(layer(inputs)[0], layer(inputs)[0])


def test_zoneout_in_eval_is_the_mean_of_zoneout_in_training(layer_class):
    if not applies("zoneout", layer_class):
        pytest.skip("refused, which is tested above")
    # one step, because further on the mean of a formula is not the formula of the mean; 20,000 rows: 5 standard errors
    layer = make(layer_class, zoneout=0.3)
    inputs = make_inputs(1, 1)
    state = make_state(layer, 1)
    _, expected = layer(inputs, state)
    many = tuple(part.expand(20_000, -1) for part in state)
    _, drawn = layer.train()(inputs.expand(20_000, -1, -1), many)
    for mean, value in zip(expected, drawn, strict=True):
        spread = value.std(0) / 20_000**0.5
        assert ((value.mean(0) - mean[0]).abs() <= 5 * spread + 1e-12).all()


def test_zoneout_keeps_the_unit_or_takes_the_new_one(layer_class):
    if not applies("zoneout", layer_class):
        pytest.skip("refused, which is tested above")
    layer = make(layer_class, zoneout=0.5).train()
    plain = make(layer_class).train()
    inputs, state = make_inputs(50, 1), make_state(layer, 50)
    _, new = plain(inputs, state)
    _, got = layer(inputs, state)
    for before, after, mixed in zip(state, new, got, strict=True):
        assert ((mixed - before).abs().minimum((mixed - after).abs()) < 1e-12).all()
        assert 0.3 < ((mixed - before).abs() < 1e-12).double().mean() < 0.7


# What a user's class can get wrong without knowing


def test_an_update_of_a_mixin_is_not_taken_for_the_fused_formula():
    class Doubled(LSTM if TYPE_CHECKING else object):
        def update(self, input_gates, hidden_gates, state):
            h, (_, c) = super().update(input_gates, hidden_gates, state)
            return 2 * h, (2 * h, c)

    class DoubledLSTM(Doubled, LSTM):
        pass

    assert DoubledLSTM.formula == ""
    layer, inputs = make(DoubledLSTM), make_inputs(2, 5)
    outputs, _ = layer(inputs)
    with kernels.use("reference"):
        assert_close(outputs, layer(inputs)[0])


def test_a_subclass_that_keeps_the_update_keeps_the_fused_formula():
    class Named(LSTM):
        def extra_repr(self):
            return "named"

    assert Named.formula == "lstm"


def test_an_unfinished_layer_cannot_be_made():
    with pytest.raises(TypeError, match="update"):
        type("Half", (GatedLayer,), {"num_gates": 1, "state_names": ("h",)})(INPUT, HIDDEN)
    with pytest.raises(TypeError, match="coefficients"):
        type("Half", (DiagonalLayer,), {})(INPUT, HIDDEN)
