"""`gradient_stats` and its result, and the cost of importing the package."""

import math
import subprocess
import sys
from collections.abc import Mapping

import pytest
import steadygrad.torch
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


def model_with(**grads):
    model = nn.Module()
    for name, grad in grads.items():
        parameter = nn.Parameter(torch.zeros(()) if grad is None else torch.zeros_like(grad))
        parameter.grad = grad
        model.register_parameter(name, parameter)
    return model


def brute(grad):
    magnitude = grad.detach().double().abs()
    finite = magnitude[magnitude.isfinite()]
    tiny = torch.finfo(grad.dtype).tiny
    return {
        "tensor_norm": magnitude.square().sum().sqrt().item(),
        "max_abs": finite.max().item() if len(finite) else 0.0,
        "numel": grad.numel(),
        "non_finite": int((~magnitude.isfinite()).sum()),
        "subnormal": int(((magnitude > 0) & (magnitude < tiny)).sum()),
        "zero": int((magnitude == 0).sum()),
    }


ROWS = {
    "plain": torch.randn(40, 30),
    "odd": torch.tensor([1.0, 0.0, -0.0, 1e-40, -3.0]),
    "nan": torch.tensor([math.nan, 2.0, math.inf]),
    "infinite": torch.tensor([-math.inf, 2.0]),
    "empty": torch.zeros(0, 4),
    "scalar": torch.tensor(-2.5),
    "half": torch.tensor([65504.0, 1e-6, 0.0], dtype=torch.float16),
    "bfloat": torch.randn(33, dtype=torch.bfloat16),
    "double": torch.randn(9, dtype=torch.float64) * 1e100,
    "gaps": torch.tensor([[1.0, 9.0], [0.0, 9.0], [1e-40, 9.0], [math.inf, 9.0]])[:, 0],
    "reordered": torch.randn(4, 5).t(),
    "followed": torch.randn(4, requires_grad=True),
}


@pytest.mark.parametrize("row", ROWS)
def test_against_the_plainest_code(row):
    stats = steadygrad.torch.gradient_stats(model_with(it=ROWS[row]))["it"]
    for name, expected in brute(ROWS[row]).items():
        assert getattr(stats, name) == pytest.approx(expected, rel=1e-12, nan_ok=True), name


def test_sparse_counts_what_is_not_stored():
    grad = torch.sparse_coo_tensor([[0, 2, 2]], [3.0, 1.0, 3.0], (5,), check_invariants=True)
    stats = steadygrad.torch.gradient_stats(model_with(it=grad))["it"]
    assert (stats.tensor_norm, stats.max_abs, stats.numel, stats.zero) == (5.0, 4.0, 5, 3)


def test_it_is_a_mapping_in_the_models_order():
    grads = {"b": torch.tensor([3.0]), "none": None, "a": torch.tensor([0.0, 4.0])}
    stats = steadygrad.torch.gradient_stats(model_with(**grads))
    assert isinstance(stats, Mapping)
    assert list(stats) == list(stats.keys()) == ["b", "a"]
    assert len(stats) == 2 and "a" in stats and "none" not in stats
    assert dict(stats)["a"].zero == 1
    assert [s.tensor_norm for s in stats.values()] == [3.0, 4.0]
    shares = {name: each.share for name, each in stats.items()}
    assert shares == pytest.approx({"b": 9 / 25, "a": 16 / 25})
    assert stats.get("none") is None and stats.get("none", 7) == 7
    with pytest.raises(KeyError, match="none"):
        stats["none"]
    assert (stats.global_norm, stats.max_abs, stats.non_finite) == (5.0, 4.0, 0)
    assert (stats.coefficient, stats.actions) == (1.0, ())


def test_the_worst_come_first():
    grads = {"small": 1.0, "nan": math.nan, "large": 5.0, "infinite": math.inf}
    stats = steadygrad.torch.gradient_stats(
        model_with(**{name: torch.tensor([value]) for name, value in grads.items()})
    )
    assert [name for name, _ in stats.top(9)] == ["nan", "infinite", "large", "small"]
    assert [name for name, _ in stats.top(1)] == ["nan"]
    assert stats.top(0) == []
    assert stats.non_finite == 2 and math.isnan(stats.global_norm)


def test_parameters_without_names_are_counted():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.ones(2)
    assert list(steadygrad.torch.gradient_stats([nn.Parameter(torch.zeros(1)), p])) == ["1"]
    assert list(steadygrad.torch.gradient_stats(p)) == ["0"]
    assert len(steadygrad.torch.gradient_stats([])) == 0


def test_repr_is_a_table_for_people():
    stats = steadygrad.torch.gradient_stats(
        model_with(**{f"layer{i}": torch.full((2,), float(i)) for i in range(12)})
    )
    lines = repr(stats).splitlines()
    assert lines[0].startswith("GradientStats: global norm") and "12 tensors" in lines[0]
    assert lines[2].split()[0] == "layer11" and lines[-1] == "... and 2 more"
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert "numel=2" in repr(stats["layer3"])


def test_statistics_outlive_the_gradients():
    model = model_with(it=torch.tensor([3.0, 4.0]))
    stats = steadygrad.torch.gradient_stats(model)
    model.zero_grad()
    assert stats["it"].tensor_norm == 5.0


IMPORT = """
import sys, time
start = time.perf_counter()
import steadygrad
elapsed = time.perf_counter() - start
assert "torch" not in sys.modules and "numpy" not in sys.modules, "a framework was imported"
assert steadygrad.__version__.count(".") == 2, steadygrad.__version__
import steadygrad.clip
assert "torch" not in sys.modules
print(elapsed)
"""
PARTS = """
import sys
import steadygrad
assert steadygrad.torch.Guard is sys.modules["steadygrad.torch"].Guard
try:
    steadygrad.troch
except AttributeError as error:
    assert "its parts are" in str(error)
else:
    raise AssertionError
"""


def in_a_new_process(script):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_is_light():
    assert min(float(in_a_new_process(IMPORT)) for _ in range(3)) < 0.1
    assert in_a_new_process(PARTS) == ""


def test_other_tensors_are_read_once_for_all_of_them():
    """A device is waited for once: no value is read by itself."""

    class Waits(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    values = torch.tensor([3.0, -4.0, 0.0, float("nan"), 1e-40, float("inf")])
    parameters = [nn.Parameter(torch.zeros(6)) for _ in range(4)]
    for parameter, scale in zip(parameters, (1.0, 2.0, 0.0, 4.0)):
        # PyTorch's operators measure a gradient that autograd tracks.
        parameter.grad = (values * scale).requires_grad_()
    with Waits() as waits:
        stats = steadygrad.torch.gradient_stats(parameters)
    assert waits.seen == 0
    native = [nn.Parameter(torch.zeros(6)) for _ in range(4)]
    for parameter, followed in zip(native, parameters):
        parameter.grad = followed.grad.detach().clone()
    expected = steadygrad.torch.gradient_stats(native)
    for name in expected:
        for field in ("max_abs", "numel", "non_finite", "subnormal", "zero"):
            assert getattr(stats[name], field) == getattr(expected[name], field), (name, field)
        assert str(stats[name].tensor_norm) == str(expected[name].tensor_norm)


def test_a_device_without_float64_is_measured_in_float32(monkeypatch):
    from steadygrad._gradients import operators

    assert operators.accumulation_dtype(torch.device("mps")) == torch.float32
    assert {
        operators.accumulation_dtype(torch.device(name)) for name in ("cpu", "cuda", "xpu")
    } == {torch.float64}
    tensors = {name: row.float() for name, row in ROWS.items() if name != "double"}
    # The squares overflow or underflow float32.
    tensors |= {"large": torch.tensor([3e30, -4e30]), "small": torch.tensor([3e-30, -4e-30])}
    monkeypatch.setattr(operators, "accumulation_dtype", lambda device: torch.float32)
    for name, tensor in tensors.items():
        row = operators.rows_by_operators([tensor])[0]
        assert row == pytest.approx(tuple(brute(tensor).values()), rel=1e-6, nan_ok=True), name
        assert operators.norm_of(tensor) == pytest.approx(row[0], nan_ok=True), name


def test_complex_sparse_and_empty_ones_beside_each_other():
    complex_one = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    complex_one.grad = torch.tensor([3 + 4j, 0j])
    sparse = nn.Parameter(torch.zeros(5))
    sparse.grad = torch.sparse_coo_tensor([[1, 1, 3]], [1.0, 2.0, 4.0], (5,), check_invariants=True)
    empty = nn.Parameter(torch.zeros(0))
    empty.grad = torch.zeros(0, requires_grad=True)
    stats = steadygrad.torch.gradient_stats([complex_one, sparse, empty])
    rows = [(s.tensor_norm, s.max_abs, s.numel, s.zero) for s in stats.values()]
    assert rows == [(5.0, 4.0, 4, 2), (5.0, 4.0, 5, 3), (0.0, 0.0, 0, 0)]
