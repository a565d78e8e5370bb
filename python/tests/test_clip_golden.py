"""Every policy against the golden vectors that the Rust tests are held to as well."""

import json
from pathlib import Path

import pytest
import torch
from steadygrad import clip
from steadygrad.torch import Clipper

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "crates/steadygrad/tests/golden/clip.json").read_text()
)
POLICIES = {
    "value": clip.Value,
    "tensor_norm": clip.TensorNorm,
    "global_norm": clip.GlobalNorm,
    "adaptive_gradient": clip.AdaptiveGradient,
    "autoclip": clip.AutoClip,
    "zclip": clip.ZClip,
    "adagc": clip.AdaGC,
    "spike_aware": clip.SpikeAware,
    "update_rms": clip.UpdateRms,
    "clippy": clip.Clippy,
}
# The columns of a matrix [in, out] are units in JAX and Burn; PyTorch's are rows.
CASES = [case for case in GOLDEN["cases"] if not case["name"].endswith("columns")]
STEPS = 1000


class Descent(torch.optim.Optimizer):
    """w <- w - 0.01 g, with the second moment that the golden vectors were made with."""

    def __init__(self, parameters):
        super().__init__(parameters, {"betas": (0.0, GOLDEN["beta2"])})
        for parameter in self.param_groups[0]["params"]:
            zeros = torch.zeros(parameter.shape, dtype=torch.float64)
            self.state[parameter] = {"step": 0, "exp_avg_sq": zeros}

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["step"] += 1
            # Of the gradient as it came: the golden vectors' moments do not see what was clipped.
            squares = self.given[parameter].double() ** 2
            state["exp_avg_sq"].lerp_(squares, 1 - GOLDEN["beta2"])
            parameter.add_(parameter.grad, alpha=-0.01)


def parameters(values):
    values = torch.tensor(values, dtype=torch.float32)
    return [torch.nn.Parameter(values[:6].reshape(2, 3)), torch.nn.Parameter(values[6:].clone())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_policy_agrees_with_its_peer(case):
    settings = dict(case["policy"])
    clipper_of = POLICIES[settings.pop("policy")]
    weights = parameters(GOLDEN["weights"])
    start = [weight.detach().clone() for weight in weights]
    optimizer = Descent(weights)
    clipper = Clipper(weights, clipper_of(**settings))
    on_update = case["name"] in ("update_rms", "clippy")
    gradients = torch.tensor(GOLDEN["gradients"], dtype=torch.float32).view(STEPS, 8)
    expected = torch.tensor(case["clipped"], dtype=torch.float32).view(STEPS, 8)
    changed = 0
    for gradient, want in zip(gradients, expected):
        with torch.no_grad():
            for weight, value in zip(weights, start):
                weight.copy_(value)
        weights[0].grad, weights[1].grad = gradient[:6].view(2, 3).clone(), gradient[6:].clone()
        optimizer.given = {weight: weight.grad.clone() for weight in weights}
        clipper.step(optimizer)
        if on_update:
            got = [weight.detach() - value for weight, value in zip(weights, start)]
            # What is left of an update after it was added to a weight near 1.
            atol = 3e-7
            changed += int((want - -0.01 * gradient).abs().max() > atol)
        else:
            got, atol = [weight.grad for weight in weights], 1e-37
            changed += int((want != gradient).any())
        got = torch.cat([value.flatten() for value in got])
        torch.testing.assert_close(got, want, rtol=1e-6, atol=atol)
    assert changed > 5, "a case in which nothing is clipped proves nothing"
