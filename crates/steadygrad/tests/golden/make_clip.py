"""Makes clip.json: one stream of gradients, clipped by other libraries and the papers' formulas.

    pip install numpy==2.4.6 torch==2.15.0 optax==0.2.8 pytorch_optimizer==4.1.0
    python crates/steadygrad/tests/golden/make_clip.py

The stream has 1,000 steps of a matrix [2, 3] and a vector [2] in f32. It has spikes, zero steps, a
tensor that starts at zero, and changes of scale by up to 1e11. Each case holds the clipped values
as one flat list, step after step. `peer` names their source. The optimizer's second moment starts
at v = 0 and follows v <- 0.99 v + 0.01 g^2 in f64. A case sees v from before this step's g, unless
it says otherwise. The update is -0.01 g.
"""

import json
from pathlib import Path

import numpy as np
import optax
import torch
from pytorch_optimizer.base.optimizer import BaseOptimizer
from pytorch_optimizer.optimizer.agc import agc

STEPS = 1000
BETA2 = 0.99


def stream(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    scales = [1e-2, 1e3, 1e-8, 1.0]
    steps = []
    for step in range(STEPS):
        scale = scales[step * len(scales) // STEPS]
        if random.random() < 0.02:
            scale *= 10 ** random.uniform(1, 4)
        if random.random() < 0.03:
            scale = 0.0
        matrix = (random.standard_normal((2, 3)) * scale).astype(np.float32)
        vector = (random.standard_normal(2) * scale * 0.3).astype(np.float32)
        if step < 10:
            vector[:] = 0.0
        steps.append((matrix, vector))
    return steps


def norm(values) -> float:
    return float(np.sqrt(np.sum(np.square(np.asarray(values, dtype=np.float64)))))


def global_norm(tensors) -> float:
    return float(np.hypot(norm(tensors[0]), norm(tensors[1])))


def times(tensors, coefficient):
    return [(t.astype(np.float64) * c).astype(np.float32) for t, c in zip(tensors, coefficient)]


def bound(tensors, limit):
    total = global_norm(tensors)
    return times(tensors, [min(1.0, limit / total) if total > 0 else 1.0] * 2)


# ---- the peers ----------------------------------------------------------------------------------


def torch_value(tensors, limit=0.5):
    params = [torch.nn.Parameter(torch.zeros(t.shape)) for t in tensors]
    for param, tensor in zip(params, tensors):
        param.grad = torch.from_numpy(tensor.copy())
    torch.nn.utils.clip_grad_value_(params, limit)
    return [param.grad.numpy() for param in params]


def torch_infinity(tensors, limit=0.5):
    """Clips in f64 at a scale of 1e9, where the 1e-6 that torch adds to the norm is negligible."""
    params = [torch.nn.Parameter(torch.zeros(t.shape, dtype=torch.float64)) for t in tensors]
    for param, tensor in zip(params, tensors):
        param.grad = torch.from_numpy(tensor.astype(np.float64) * 1e9)
    torch.nn.utils.clip_grad_norm_(params, limit * 1e9, norm_type=float("inf"))
    return [(param.grad.numpy() / 1e9).astype(np.float32) for param in params]


def optax_global(tensors, limit=0.7):
    clip = optax.clip_by_global_norm(limit)
    clipped, _ = clip.update(list(tensors), clip.init(list(tensors)))
    return [np.asarray(t) for t in clipped]


def optax_tensor(tensors, limit=0.7):
    return [optax_global([t, np.zeros(1, np.float32)], limit)[0] for t in tensors]


def optax_agc(tensors, weights):
    clip = optax.adaptive_grad_clip(0.01, eps=1e-3)
    clipped, _ = clip.update(list(tensors), clip.init(list(weights)), list(weights))
    return [np.asarray(t) for t in clipped]


def torch_agc(tensors, weights):
    pairs = zip(weights, tensors)
    return [agc(torch.from_numpy(w), torch.from_numpy(t.copy())).numpy() for w, t in pairs]


# ---- the papers' formulas -----------------------------------------------------------------------


class AutoClip:
    """Seetharaman et al. 2020, with the whole history."""

    def __init__(self):
        self.history = []

    def __call__(self, tensors):
        self.history.append(global_norm(tensors))
        return bound(tensors, np.percentile(self.history, 10))


class ZClip:
    """Kumar et al. 2025, with its defaults."""

    def __init__(self):
        self.seen, self.mean, self.variance = [], None, None

    def __call__(self, tensors):
        total = global_norm(tensors)
        limit = total
        if self.mean is None:
            self.seen.append(total)
            if len(self.seen) == 25:
                self.mean, self.variance = np.mean(self.seen), np.var(self.seen)
        else:
            z = (total - self.mean) / (self.variance**0.5 + 1e-6)
            if z > 2.5:
                limit = self.mean + 2.5**2 / z * self.variance**0.5
            self.mean = 0.97 * self.mean + 0.03 * limit
            self.variance = 0.97 * self.variance + 0.03 * (limit - self.mean) ** 2
        return bound(tensors, min(limit, 1.0))


class AdaGC:
    """Wang et al. 2025, algorithm 1. A zero norm does not change the threshold."""

    def __init__(self):
        self.step, self.gamma = 0, [None, None]

    def __call__(self, tensors):
        self.step += 1
        if self.step <= 100:
            clipped = bound(tensors, 1.0)
            coefficient = min(1.0, 1.0 / max(global_norm(tensors), 1e-300))
            for index, tensor in enumerate(tensors):
                size = norm(tensor) * coefficient
                if size > 0:
                    old = self.gamma[index]
                    self.gamma[index] = size if old is None else min(old, size)
            return clipped
        coefficients = [1.0, 1.0]
        for index, tensor in enumerate(tensors):
            size = norm(tensor)
            if size > 0:
                coefficients[index] = min(1.0, 1.05 * self.gamma[index] / size)
                self.gamma[index] = 0.98 * self.gamma[index] + 0.02 * size * coefficients[index]
        return times(tensors, coefficients)


class Moments:
    def __init__(self):
        self.v = [np.zeros((2, 3)), np.zeros(2)]
        self.step = 0

    def push(self, tensors):
        self.step += 1
        pairs = zip(self.v, tensors)
        self.v = [BETA2 * v + (1 - BETA2) * t.astype(np.float64) ** 2 for v, t in pairs]


class Spam(Moments):
    """Huang et al. 2025: only the clip, with ratio 50 and a grace period of 20 steps."""

    def __call__(self, tensors):
        clipped = []
        for v, tensor in zip(self.v, tensors):
            g = tensor.astype(np.float64)
            spike = (g**2 > 50.0 * v) & (v > 0) & (self.step >= 20)
            clipped.append(np.where(spike, np.sign(g) * np.sqrt(50.0 * v), g).astype(np.float32))
        self.push(tensors)
        return clipped


class StableAdamW(Moments):
    """Wortsman et al. 2023 by pytorch_optimizer. v includes this step and is bias-corrected."""

    def __call__(self, tensors):
        self.push(tensors)
        coefficients = []
        for v, tensor in zip(self.v, tensors):
            g = torch.from_numpy(tensor.astype(np.float64))
            v = torch.from_numpy(v / (1 - BETA2**self.step))
            rms = BaseOptimizer.get_stable_adamw_rms(g, v, eps=1e-16)
            coefficients.append(1.0 / max(float(rms), 1.0))
        return times([np.float32(-0.01) * t for t in tensors], coefficients)


def clippy(tensors, weights):
    """Tang et al. 2023 with ClippyAdagrad's defaults."""
    updates = [np.float32(-0.01) * t for t in tensors]
    coefficients = []
    for update, weight in zip(updates, weights):
        allowed = 0.1 * np.abs(weight.astype(np.float64)) + 1e-7
        size = np.abs(update.astype(np.float64))
        room = np.min(np.where(size > 0, allowed / np.where(size > 0, size, 1.0), np.inf))
        coefficients.append(min(1.0, room))
    return times(updates, coefficients)


def flat(tensors) -> list[float]:
    values = np.concatenate([np.asarray(t, dtype=np.float32).ravel() for t in tensors])
    return [float(str(v)) for v in values]


def main() -> None:
    steps = stream(20261123)
    random = np.random.default_rng(7)
    weights = [
        random.standard_normal((2, 3)).astype(np.float32),
        np.array([0.5, 0.0], dtype=np.float32),
    ]
    torch_version, optax_version = torch.__version__.split("+")[0], optax.__version__
    paper = f"the paper's formula, numpy {np.__version__}"
    by_torch, by_optax = f"torch {torch_version}", f"optax {optax_version}"
    by_norm = f"{by_optax} clip_by_global_norm"
    largest = {"policy": "global_norm", "max_norm": 0.5, "norm": "l_inf"}
    agc_columns, agc_rows = "adaptive_gradient_columns", "adaptive_gradient_rows"
    agc_policy = {"policy": "adaptive_gradient"}
    optax_rule = lambda t: optax_agc(t, weights)  # noqa: E731
    torch_rule = lambda t: torch_agc(t, weights)  # noqa: E731
    tensor_norm = {"policy": "tensor_norm", "max_norm": 0.7}
    global_norm_l2 = {"policy": "global_norm", "max_norm": 0.7}
    stable, by_rms = StableAdamW(), "pytorch_optimizer get_stable_adamw_rms"
    infinity = f"{by_torch} clip_grad_norm_ with norm_type inf"
    cases = [
        ("value", {"policy": "value", "max_abs": 0.5}, f"{by_torch} clip_grad_value_", torch_value),
        ("tensor_norm", tensor_norm, f"{by_norm}, tensor by tensor", optax_tensor),
        ("global_norm", global_norm_l2, by_norm, optax_global),
        ("global_norm_l_inf", largest, infinity, torch_infinity),
        (agc_columns, agc_policy, f"{by_optax} adaptive_grad_clip", optax_rule),
        (agc_rows, agc_policy, "pytorch_optimizer agc", torch_rule),
        ("autoclip", {"policy": "autoclip"}, paper, AutoClip()),
        ("zclip", {"policy": "zclip"}, paper, ZClip()),
        ("adagc", {"policy": "adagc"}, paper, AdaGC()),
        ("spike_aware", {"policy": "spike_aware", "ratio": 50.0}, paper, Spam()),
        ("update_rms", {"policy": "update_rms"}, by_rms, stable),
        ("clippy", {"policy": "clippy"}, paper, lambda t: clippy(t, weights)),
    ]
    document = {
        "beta2": BETA2,
        "weights": flat(weights),
        "gradients": [value for step in steps for value in flat(step)],
        "cases": [
            {
                "name": name,
                "policy": policy,
                "peer": peer,
                "clipped": [value for step in steps for value in flat(clip(step))],
            }
            for name, policy, peer, clip in cases
        ],
    }
    path = Path(__file__).with_name("clip.json")
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{path}: {path.stat().st_size} bytes, {len(cases)} cases of {len(steps)} steps")


if __name__ == "__main__":
    main()
