"""`probe`, against closed forms, brute force and PyTorch's own Jacobians."""

import copy
import math
import random

import numpy
import pytest
import torch
from steadygrad._probe.measure import measure_model
from steadygrad._probe.unrolled import unrolled
from steadygrad.torch import probe
from torch import nn

mse = nn.functional.mse_loss


def codes(found):
    return [finding["code"] for finding in found.findings]


def linear(depth, width, gain):
    """Returns a deep linear network of orthogonal matrices times one factor."""
    torch.manual_seed(0)
    layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(gain * torch.linalg.qr(torch.randn(width, width)).Q)
    return nn.Sequential(*layers)


def mlp(depth, width, gain, activation=nn.Tanh):
    torch.manual_seed(0)
    layers = [nn.Linear(16, width), activation()]
    for _ in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, std=gain / math.sqrt(width))
        nn.init.zeros_(layer.bias)
        layers += [layer, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def batch(rows=32, inputs=16):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, inputs, generator=generator), torch.randn(rows, 1, generator=generator)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.7])
def test_a_deep_linear_network_grows_by_its_gain(gain):
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    found = probe(linear(20, 6, gain), (inputs, torch.zeros(8, 6)), mse)
    assert len(found.growth) == 20
    for point in found.growth[1:]:
        assert math.isclose(point["backward_growth"], gain, rel_tol=1e-4)
        assert math.isclose(point["forward_growth"], gain, rel_tol=1e-4)
    assert len(found.exponents) == 4
    for exponent in found.exponents:
        assert math.isclose(exponent, math.log(gain), abs_tol=1e-5)


def test_exponents_are_those_of_the_explicit_product():
    """With as many directions as dimensions, all singular values agree up to rounding."""
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Linear(4, 4), nn.Tanh())]
    model = nn.Sequential(nn.Linear(16, 4), nn.Tanh(), *layers, nn.Linear(4, 1)).double()
    inputs, targets = (tensor.double() for tensor in batch())
    found = probe(model, (inputs, targets), mse)
    # From the first hidden Linear's output to the last one's.
    expected = []
    for row in inputs[:4]:
        start = model[0](row)
        jacobian = torch.autograd.functional.jacobian(model[1:13], start)
        expected.append(torch.linalg.svdvals(jacobian).log() / 6)
    expected = torch.stack(expected).mean(0)
    assert found.exponents == pytest.approx(expected.tolist(), abs=1e-6)
    assert found.to_dict()["measurements"]["spectrum"]["complete"]
    assert "along the worst direction" in str(found)


def test_fewer_directions_than_the_state_give_lower_bounds():
    found = probe(mlp(12, 72, 1.5), batch(), mse)
    spectrum = found.to_dict()["measurements"]["spectrum"]
    assert spectrum["lower_bound"] and not spectrum["complete"]
    assert "along the best of 4 random directions" in str(found)
    # The control: all directions at once, on the first sample.
    model = mlp(12, 72, 1.5)
    start = model[0](batch()[0][0])
    jacobian = torch.autograd.functional.jacobian(model[1:25], start).double()
    largest = float(torch.linalg.svdvals(jacobian)[0].log()) / 12
    assert largest - 0.15 < found.exponents[0] < largest + 0.1


def test_the_sharpness_of_a_quadratic():
    inputs = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    model = nn.Linear(5, 1, bias=False)
    found = probe(model, (inputs, torch.zeros(16, 1)), mse)
    hessian = 2 * inputs.T @ inputs / 16
    exact = float(torch.linalg.eigvalsh(hessian)[-1])
    residual = found.to_dict()["measurements"]["sharpness"]["residual"]
    assert abs(found.sharpness - exact) <= residual + 1e-3 * exact and residual <= 0.1 * exact
    largest = 2 / found.sharpness
    optimizer = torch.optim.SGD(model.parameters(), lr=1.5 * largest)
    assert codes(probe(model, (inputs, torch.zeros(16, 1)), mse, optimizer=optimizer)) == []
    optimizer = torch.optim.SGD(model.parameters(), lr=2.5 * largest)
    assert codes(probe(model, (inputs, torch.zeros(16, 1)), mse, optimizer=optimizer)) == ["SG006"]
    # SGD's bound says nothing about Adam.
    adam = torch.optim.Adam(model.parameters(), lr=2.5 * largest)
    assert codes(probe(model, (inputs, torch.zeros(16, 1)), mse, optimizer=adam)) == []


def test_an_exploding_start_is_found_and_the_critical_one_is_not():
    bad = probe(mlp(30, 64, 2.0), batch(), mse)
    assert codes(bad)[:2] == ["SG007", "SG003"]
    assert bad.first_remedy["family"] == "initialize"
    assert codes(probe(mlp(30, 64, 1.0), batch(), mse)) == []
    relu = probe(mlp(30, 64, 3.0, nn.ReLU), batch(), mse)
    assert codes(relu)[0] == "SG007"
    assert relu.to_dict()["measurements"]["activation"] == "relu"
    # In place or not, the activation is found from the values.
    in_place = probe(mlp(30, 64, 3.0, lambda: nn.ReLU(inplace=True)), batch(), mse)
    assert in_place.to_dict()["measurements"]["activation"] == "relu"


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent = kind(4, 24, **settings)
        self.head = nn.Linear(24, 1)
        self.last = -1 if settings.get("batch_first") else None

    def forward(self, inputs):
        outputs = self.recurrent(inputs)[0]
        return self.head(outputs[:, -1] if self.last else outputs[-1])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    "settings", [{"batch_first": True}, {}, {"batch_first": True, "num_layers": 2}]
)
def test_a_recurrent_module_step_by_step_is_the_same(kind, settings):
    model = Recurrent(kind, **settings)
    shape = (8, 30, 4) if settings.get("batch_first") else (30, 8, 4)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    whole = model(inputs)
    with unrolled(model.recurrent) as states:
        stepped = model(inputs)
    torch.testing.assert_close(whole, stepped)
    assert [state.name for state in states[:2]] == ["t=0", "t=1"] and len(states) == 30
    torch.testing.assert_close(model(inputs), whole, rtol=0, atol=0)
    found = probe(model, (inputs, torch.zeros(8, 1)), mse)
    assert len(found.growth) == 30 and len(found.exponents) == 4
    assert codes(found) in ([], ["SG012"])


@pytest.mark.parametrize("steps", [30, 8])
def test_time_that_comes_first_is_no_row(steps):
    class EachStep(Recurrent):
        def forward(self, inputs):
            return self.head(self.recurrent(inputs)[0])

    inputs = torch.randn(8, steps, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.zeros(8, steps, 1)
    rows_first = probe(EachStep(nn.RNN, batch_first=True), (inputs, targets), mse)
    swapped = inputs.transpose(0, 1), targets.transpose(0, 1)
    time_first = probe(EachStep(nn.RNN), swapped, mse)
    assert len(time_first.growth) == steps
    assert time_first.exponents == pytest.approx(rows_first.exponents, rel=1e-4)
    assert time_first.sharpness == pytest.approx(rows_first.sharpness, rel=1e-3)
    assert time_first.to_dict()["batch_size"] == 8


def test_the_growth_through_time_is_that_of_a_cell_by_hand():
    model = Recurrent(nn.RNN, batch_first=True).double()
    with torch.no_grad():
        model.recurrent.weight_hh_l0.mul_(6.0)
    generator = torch.Generator().manual_seed(1)
    inputs = 0.01 * torch.randn(8, 25, 4, generator=generator, dtype=torch.float64)
    targets = torch.ones(8, 1, dtype=torch.float64)
    found = probe(model, (inputs, targets), mse)
    r, states, state = model.recurrent, [], torch.zeros(8, 24, dtype=torch.float64)
    for step in range(25):
        given = inputs[:, step] @ r.weight_ih_l0.T + r.bias_ih_l0
        state = torch.tanh(given + state @ r.weight_hh_l0.T + r.bias_hh_l0)
        state.retain_grad()
        states.append(state)
    mse(model.head(states[-1]), targets).backward()
    measured = [point["gradient_norm"] for point in found.growth]
    assert measured == pytest.approx([state.grad.norm().item() for state in states], rel=1e-5)
    assert {"SG004", "SG007"} & set(codes(found))
    assert found.first_remedy["family"] == "regularize"


class Block(nn.Module):
    def __init__(self, width, scale=1.0):
        super().__init__()
        self.norm, self.up, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.down(nn.functional.gelu(self.up(self.norm(x))))


def test_blocks_are_found_before_their_parts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), *(Block(32) for _ in range(6)), nn.Linear(32, 1))
    found = probe(model, batch(), mse)
    assert [point["name"] for point in found.growth] == ["1", "2", "3", "4", "5", "6"]
    assert codes(found) == []
    assert found.to_dict()["measurements"]["criticality"] is None
    # A residual network of plain layers is not a plain chain.

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(8)])
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            for layer in self.layers:
                x = x + torch.tanh(layer(x))
            return self.head(x)

    found = probe(Residual(), batch(), mse)
    assert len(found.growth) == 8 and found.to_dict()["measurements"]["criticality"] is None


class Unnormalised(Block):
    def __init__(self, width, after=nn.Identity):
        super().__init__(width)
        self.norm, self.after = nn.Identity(), after()

    def forward(self, x):
        return self.after(super().forward(x))


def not_centred():
    """Returns matrices whose largest singular directions are not random."""
    model = mlp(6, 64, 1.5, nn.ReLU)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.0, 0.1)
    return model


@pytest.mark.parametrize(
    ("build", "low", "high"),
    [
        (lambda: blocks(nn.Identity), 0.9, 1.1),
        (lambda: blocks(nn.ReLU), 0.4, 1.0),
        (lambda: mlp(6, 64, 1.5), -0.1, 0.1),
        (not_centred, -0.1, 0.15),
    ],
)
def test_how_much_of_its_input_a_layer_hands_on(build, low, high):
    torch.manual_seed(0)
    measured = measure_model(build(), batch(), mse, None, 0).fields
    assert low < measured["skip_share"] < high


def blocks(after):
    return nn.Sequential(
        nn.Linear(16, 64), *(Unnormalised(64, after) for _ in range(6)), nn.Linear(64, 1)
    )


def test_plain_and_normalised_layers_and_time_steps_have_no_residual_branches():
    torch.manual_seed(0)
    recurrent = Recurrent(nn.LSTM, batch_first=True), (torch.randn(4, 12, 4), torch.zeros(4, 1))
    normalised = nn.Sequential(nn.Linear(16, 32), *(Block(32) for _ in range(6)), nn.Linear(32, 1))
    for model, given in [recurrent, (normalised, batch()), (not_centred(), batch())]:
        assert "skip_share" not in probe(model, given, mse).to_dict()["measurements"]
    assert "skip_share" in probe(blocks(nn.ReLU), batch(), mse).to_dict()["measurements"]


class Summed(nn.Module):
    """Adds the blocks' outputs to their inputs in the code around them."""

    def __init__(self, depth=12, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        branch = lambda: nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 1)
        self.blocks, self.dropout = (
            nn.ModuleList(branch() for _ in range(depth)),
            nn.Dropout(dropout),
        )
        for parameter in self.blocks.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + self.dropout(block(x))
        return self.last(x)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_blocks_that_the_code_around_them_adds_are_residual_ones(dropout):
    model = Summed(dropout=dropout)
    found = probe(model, batch(), mse)
    assert [point["name"] for point in found.growth] == [f"blocks.{place}" for place in range(12)]
    # The growth is that of the residual stream.
    x = model.eval().first(batch()[0])
    sizes = [x.detach().pow(2).mean().sqrt().item()]
    for block in model.blocks[:-1]:
        x = x + block(x)
        sizes.append(x.detach().pow(2).mean().sqrt().item())
    if not dropout:
        assert [point["activation_rms"] for point in found.growth] == pytest.approx(sizes, rel=1e-4)
    assert 0.9 < found.to_dict()["measurements"]["skip_share"] < 1.1
    assert "SG003" in codes(found) and "SG007" not in codes(found)
    assert found.first_remedy["remedy"]["kind"] == "scale_residual"


def test_branches_side_by_side_are_no_residual_ones():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

        def forward(self, x):
            return sum(branch(x) for branch in self.branches).mean(1, keepdim=True)

    assert "skip_share" not in probe(Beside(), batch(), mse).to_dict()["measurements"]
    assert (
        "skip_share"
        not in probe(linear(6, 1, 0.5), (torch.randn(8, 1), torch.zeros(8, 1)), mse).to_dict()[
            "measurements"
        ]
    )


def test_what_the_loss_does_not_come_from_is_no_layer():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.heads = (
                mlp(4, 16, 1.0),
                nn.ModuleList(nn.Linear(1, 1) for _ in range(6)),
            )

        def forward(self, x):
            return self.body(x), {"unused": [head(self.body(x)) for head in self.heads]}

    found = probe(Heads(), batch(), lambda output, target: mse(output[0], target))
    assert [point["name"] for point in found.growth] == [
        "body.0",
        "body.2",
        "body.4",
        "body.6",
        "body.8",
    ]
    assert all(point["gradient_norm"] > 0 for point in found.growth) and codes(found) == []
    unused = probe(
        nn.Sequential(nn.Linear(16, 1)),
        batch(),
        lambda output, target: (output.detach() * 0 + scale).mean(),
    )
    assert unused.growth == []


scale = torch.ones(1, requires_grad=True)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("larger", [1.0, 8.0])
def test_gated_cells_get_no_advice_of_mean_field_theory(kind, larger):
    model = Recurrent(kind, batch_first=True)
    with torch.no_grad():
        for parameter in model.recurrent.parameters():
            parameter.mul_(larger)
    inputs = torch.randn(8, 40, 4, generator=torch.Generator().manual_seed(1))
    found = probe(
        model,
        (inputs, torch.ones(8, 1)),
        mse,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
    assert "SG007" not in codes(found) and "critical" not in str(found).replace(
        "Criticality", ""
    ).replace("criticality", "")
    assert found.first_remedy is None or found.first_remedy["family"] != "initialize"


def test_sparse_complex_and_quantised_parameters():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.last = nn.Embedding(10, 8, sparse=True), nn.Linear(8, 1)

        def forward(self, tokens):
            return self.last(self.embedding(tokens))

    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.last = (
                nn.Parameter(torch.randn(16, 8, dtype=torch.cfloat)),
                nn.Linear(8, 1),
            )

        def forward(self, x):
            return self.last((x.to(torch.cfloat) @ self.weight).abs())

    torch.manual_seed(0)
    sparse = Sparse()
    tokens = torch.arange(10)
    dense = copy.deepcopy(sparse)
    dense.embedding.sparse = False
    targets = torch.randn(10, 1)
    found, same = (
        probe(each, (tokens, targets), mse).to_dict()["measurements"] for each in (sparse, dense)
    )
    assert found == same and found["sharpness"] is not None
    found = probe(Complex(), batch(), mse).to_dict()["measurements"]
    assert found["sharpness"]["lambda_max"] > 0 and found["weight_norm"] > 5
    quantised = mlp(3, 8, 1.0)
    expected = probe(quantised, batch(), mse).to_dict()["measurements"]
    quantised.codes = nn.Parameter(torch.full((8, 8), 200, dtype=torch.uint8), requires_grad=False)
    assert probe(quantised, batch(), mse).to_dict()["measurements"] == expected


class Convolution(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        return (self.norm(self.first(x)) + self.skip(x)).relu()


def test_a_residual_cnn_with_batch_normalisation():
    torch.manual_seed(0)
    sizes = [(8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2)]
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *(Convolution(*size) for size in sizes),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    images, classes = torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,))
    found = probe(model, (images, classes), nn.functional.cross_entropy)
    assert len(found.growth) == 4 and found.exponents and found.sharpness is not None
    assert codes(found) == []
    assert found.to_dict()["measurements"]["normalized"]


def test_a_transformer_of_hugging_face_by_its_own_loss():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=64,
        n_positions=16,
        n_embd=32,
        n_layer=4,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    tokens = torch.randint(0, 64, (4, 16))
    found = probe(model, {"input_ids": tokens, "labels": tokens}, lambda output: output.loss)
    assert [point["name"] for point in found.growth] == [
        f"transformer.h.{layer}" for layer in range(4)
    ]
    assert found.exponents and codes(found) == []


def test_the_callers_model_batch_and_generators_stay_as_they_are():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)
    ).eval()
    inputs, targets = batch()
    model(inputs).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    kept, random = inputs.clone(), torch.random.get_rng_state()
    first = probe(model, (inputs, targets), mse).to_dict()
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads))
    assert torch.equal(inputs, kept) and not model.training and inputs.grad is None
    # A second measurement gives the same, with dropout.
    second = probe(model, (inputs, targets), mse).to_dict()
    first.pop("seconds"), second.pop("seconds")
    assert first == second


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30, 0.0])
def test_odd_inputs_are_no_error(value):
    inputs, targets = batch()
    found = probe(mlp(8, 16, 1.0), (torch.full_like(inputs, value), targets), mse)
    assert str(found) and isinstance(found.healthy, bool)
    if value != 0.0:
        assert not found.healthy


def test_models_without_layers_or_gradients():
    inputs, targets = batch()
    assert probe(nn.Linear(16, 1), (inputs, targets), mse).exponents == []
    frozen = mlp(3, 8, 1.0)
    for parameter in frozen[0].parameters():
        parameter.requires_grad_(False)
    assert len(probe(frozen, (inputs, targets), mse).growth) >= 3


def test_what_cannot_be_probed_is_said():
    with pytest.raises(TypeError, match="give \\(inputs, targets\\)"):
        probe(nn.Linear(16, 1), torch.randn(3, 16), mse)
    with pytest.raises(TypeError, match="one number"):
        probe(nn.Linear(16, 1), batch(), lambda output, target: output - target)


def test_calls_that_are_usual_elsewhere_are_told_what_is_right_here():
    model, (inputs, targets) = nn.Sequential(nn.Linear(16, 1)), batch()
    mistaken = r"called as `loss_fn\(output, targets\)`.*the model's output, here a Tensor, and not"
    with pytest.raises(TypeError, match=mistaken):
        probe(model, (inputs, targets), lambda model, batch: mse(model(batch[0]), batch[1]))
    mistaken = (
        r"mapping of `x`, `y`.*`Sequential.forward` takes \(input\).*Give \(inputs, targets\)"
    )
    with pytest.raises(TypeError, match=mistaken):
        probe(model, {"x": inputs, "y": targets}, mse)
    with pytest.raises(TypeError, match=r"`loss_fn\(output\)` for a batch that is a mapping"):
        probe(model, {"input": inputs}, lambda output, batch: mse(output, batch["y"]))
    with pytest.raises(TypeError, match=r"NumPy arrays; give tensors: `torch.as_tensor"):
        probe(model, (inputs.numpy(), targets.numpy()), mse)
    with pytest.raises(TypeError, match="`loss_fn` returned a float; it must return a tensor"):
        probe(model, (inputs, targets), lambda output, target: mse(output, target).item())
    # An error inside the model stays as it is.
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        probe(model, (inputs[:, :3], targets), mse)


def test_the_page_and_the_text(tmp_path):
    found = probe(mlp(30, 64, 2.0), batch(), mse)
    found.save_html(tmp_path / "probe.html")
    page = (tmp_path / "probe.html").read_text()
    assert "SG007" in page and "Content-Security-Policy" in page
    text = str(found)
    assert "\x1b" not in text and "SG007" in text and "--twins" not in text
    assert repr(found).startswith("<Probe: SG007")


def hessian_s_largest(model, inputs, targets, loss_fn):
    names = [name for name, _ in model.named_parameters()]
    parameters = [p.detach() for p in model.parameters()]

    def loss(flat):
        parts = flat.split([p.numel() for p in parameters])
        given = {name: part.view(p.shape) for name, part, p in zip(names, parts, parameters)}
        return loss_fn(torch.func.functional_call(model, given, (inputs,)), targets)

    flat = torch.cat([p.flatten() for p in parameters])
    hessian = torch.autograd.functional.hessian(loss, flat, vectorize=True)
    return float(torch.linalg.eigvalsh(hessian.double())[-1])


@pytest.mark.parametrize(
    ("depth", "width", "gain", "activation"),
    [(3, 16, 0.6, nn.ReLU), (6, 12, 2.0, nn.ReLU), (10, 10, 3.0, nn.Tanh), (4, 12, 1.6, nn.GELU)],
)
def test_the_sharpness_is_the_hessians_also_where_there_are_kinks(depth, width, gain, activation):
    torch.manual_seed(0)
    sizes = [6] + [width] * (depth - 1)
    layers = [layer for size in sizes for layer in (nn.Linear(size, width), activation())]
    model = nn.Sequential(*layers, nn.Linear(width, 3))
    for module in model[::2]:
        nn.init.normal_(module.weight, std=gain / module.in_features**0.5)
    inputs, targets = torch.randn(16, 6), torch.randint(0, 3, (16,))
    cross_entropy = nn.functional.cross_entropy
    found = probe(model, (inputs, targets), cross_entropy)
    assert found.sharpness == pytest.approx(
        hessian_s_largest(model, inputs, targets, cross_entropy), rel=0.02
    )
    assert "by differentiating twice" in str(found)


def test_the_sharpness_of_what_can_be_differentiated_once_is_measured_as_well():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs):
            ctx.save_for_backward(inputs)
            return inputs.tanh()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return grad * (1 - ctx.saved_tensors[0].tanh() ** 2)

    class OnceTanh(nn.Module):
        def forward(self, inputs):
            return Once.apply(inputs)

    once, twice = mlp(4, 8, 1.0, OnceTanh), mlp(4, 8, 1.0)
    one, other = (probe(model, batch(), mse) for model in (once, twice))
    assert one.sharpness == pytest.approx(other.sharpness, rel=0.05)
    assert "finite differences" in str(one)


def test_the_exponents_of_narrow_layers_are_those_of_the_product():
    model = mlp(6, 20, 1.3)
    inputs, targets = batch()
    found = probe(model, (inputs, targets), mse)
    first, *_, last = (int(point["name"]) for point in found.growth)
    logs = []
    for row in inputs[:4]:
        jacobian = torch.func.jacrev(model[first + 1 : last + 1])(model[: first + 1](row))
        values = torch.linalg.svdvals(jacobian.detach().double())
        logs.append(values[:4].log() / (len(found.growth) - 1))
    assert found.exponents == pytest.approx(torch.stack(logs).mean(0).tolist(), abs=1e-3)
    assert "along the worst direction" in str(found)


def test_what_runs_side_by_side_is_no_chain_of_layers():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.trunk = nn.Linear(8, 8)
            self.heads = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))

        def forward(self, inputs):
            hidden = self.trunk(inputs).tanh()
            return sum(
                10.0**-place * head(hidden).square().mean() for place, head in enumerate(self.heads)
            )

    found = probe(Heads(), (torch.randn(16, 8), torch.zeros(16)), lambda output, targets: output)
    assert len(found.growth) == 2 and codes(found) == []

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.gate = nn.Linear(16, 3)
            self.experts = nn.ModuleList(mlp(3, 8, 1.0) for _ in range(3))

        def forward(self, inputs):
            shares = self.gate(inputs).softmax(-1)
            return sum(
                shares[:, place, None] * expert(inputs) for place, expert in enumerate(self.experts)
            )

    found = probe(
        Experts(),
        (torch.randn(16, 16), torch.zeros(16, 1)),
        lambda output, targets: output.square().mean(),
    )
    # The longest branch is one expert.
    assert (
        len(found.growth) >= 3 and len({point["name"].split(".")[1] for point in found.growth}) == 1
    )


def test_a_recurrent_module_in_two_directions_is_not_called_healthy():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.recurrent = nn.RNN(4, 8, batch_first=True, bidirectional=True)
            self.head = nn.Linear(16, 1)

        def forward(self, inputs):
            return self.head(self.recurrent(inputs)[0][:, -1])

    found = probe(Both(), (torch.randn(8, 20, 4), torch.zeros(8, 1)), mse)
    assert found.growth == [] and found.exponents == []
    assert "hidden time steps" in str(found) and "is healthy" not in str(found)


def test_nothing_of_the_caller_s_is_touched():
    model, other = mlp(3, 8, 1.0), nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    inputs = torch.randn(16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    kept = inputs.detach().clone()

    class Criterion(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.BatchNorm1d(1)

        def forward(self, outputs, targets):
            return self.scale(outputs).square().mean()

    criterion = Criterion()
    before = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    penalised = lambda outputs, targets: (
        mse(outputs, targets) + sum(p.square().sum() for p in model.parameters())
    )
    judged = lambda outputs, targets: other(outputs).square().mean()
    for loss_fn in (penalised, judged, criterion):
        probe(model, (inputs, torch.zeros(16, 1)), loss_fn)
    assert all(p.grad is None for module in (model, other, criterion) for p in module.parameters())
    assert inputs.grad is None and torch.equal(inputs.detach(), kept)
    assert int(criterion.scale.num_batches_tracked) == 0
    after = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])


def test_a_model_that_differentiates_by_its_inputs():
    class Physics(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(4, 8, 1.0)

        def forward(self, inputs):
            inputs = inputs.requires_grad_()
            return torch.autograd.grad(self.net(inputs).sum(), inputs, create_graph=True)[0]

    found = probe(Physics(), (torch.randn(16, 16), torch.zeros(16, 16)), mse)
    assert found.sharpness is not None and len(found.growth) >= 3


def test_what_cannot_be_probed_says_why():
    model = mlp(3, 8, 1.0)
    with pytest.raises(TypeError, match="give the optimizer itself"):
        probe(model, batch(), mse, optimizer=torch.optim.SGD)
    with pytest.raises(ValueError, match="depends on no trained parameter"):
        probe(model, batch(), lambda outputs, targets: targets.sum())
    with pytest.raises(ValueError, match="depends on no trained parameter"):
        probe(model.requires_grad_(False), batch(), mse)


def test_a_batch_without_samples_and_a_model_that_cannot_be_copied():
    with pytest.raises(ValueError, match="`batch` holds no samples"):
        probe(mlp(3, 8, 1.0), (torch.ones(0, 16), torch.ones(0, 1)), mse)
    model = mlp(3, 8, 1.0)
    model.cache = model(torch.ones(2, 16))
    with pytest.raises(TypeError, match="the model cannot be copied"):
        probe(model, batch(), mse)


def test_parametrized_layers_are_layers():
    plain, wrapped = mlp(9, 8, 4.0), mlp(9, 8, 4.0)
    for module in wrapped:
        if isinstance(module, nn.Linear):
            torch.nn.utils.parametrizations.weight_norm(module)
    one, other = (probe(model, batch(), mse) for model in (plain, wrapped))
    assert [point["gradient_norm"] for point in one.growth] == pytest.approx(
        [point["gradient_norm"] for point in other.growth], rel=1e-3
    )
    assert "SG003" in codes(other)


def test_the_default_type_does_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        found = probe(mlp(3, 8, 1.0).float(), tuple(each.float() for each in batch()), mse)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.sharpness is not None


class Looped(nn.Module):
    """A recurrence without `nn.RNN`: a loop over the sequence."""

    def __init__(self, cell, gain=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.cell = cell
        self.out = nn.Linear(24, 3)
        if gain != 1.0:
            with torch.no_grad():
                self.cell.weight_hh.copy_(gain * nn.init.orthogonal_(torch.empty(24, 24)))

    def forward(self, x):
        state = x.new_zeros(len(x), 24)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.out(state)


@pytest.mark.parametrize(("gain", "grows"), [(2.0, True), (0.95, False)])
def test_a_loop_over_a_cell_has_time_steps(gain, grows):
    cell = nn.RNNCell(6, 24, nonlinearity="relu")
    inputs = 0.1 * torch.rand(12, 30, 6).abs() + 0.1
    found = probe(Looped(cell, gain), (inputs, torch.zeros(12, 3)), nn.functional.mse_loss)
    codes = [finding["code"] for finding in found.findings]
    assert ("SG004" in codes) is grows, codes
    assert "30 time steps of RNNCell" in str(found)


def test_a_block_that_is_used_several_times_is_no_recurrence():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.out = nn.Linear(8, 8), nn.Linear(8, 1)

        def forward(self, x):
            for _ in range(6):
                x = self.block(x).tanh()
            return self.out(x)

    batch = torch.randn(32, 8), torch.randn(32, 1)
    assert "time step" not in str(probe(Shared(), batch, nn.functional.mse_loss))


@pytest.mark.parametrize("rows", [300, 60_000])
def test_the_order_of_the_rows_does_not_decide_the_sharpness(rows):
    inputs = torch.linspace(0, 20, rows)[:, None].repeat(1, 400)
    targets = inputs[:, :1]
    shuffled = torch.randperm(rows, generator=torch.Generator().manual_seed(5))
    truth = 2 * float((inputs.double() ** 2).sum(1).mean())
    for order in (torch.arange(rows), torch.arange(rows).flip(0), shuffled):
        torch.manual_seed(0)
        model = nn.Linear(400, 1)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        batch = inputs[order], targets[order]
        found = probe(model, batch, nn.functional.mse_loss, optimizer=optimizer)
        assert found.sharpness == pytest.approx(truth, rel=0.1)
