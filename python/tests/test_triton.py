"""The kernels for CUDA gradients, run on the CPU by Triton's interpreter."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from test_gradient_stats import ROWS, brute

# Triton decides on its interpreter once, when it is imported: so the kernels run in a process of
# their own. It answers one line of JSON for each.
SCRIPT = """
import json, sys, torch
from array import array
from collections import namedtuple
from steadygrad._gradients import triton as kernels

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
Bounds = namedtuple("Bounds", "global_norm loss least_weight_norm weight_norm weight_rise")

def measure(path, chunk):
    rounds = torch.load(path)
    kernels._CHUNK = chunk
    kinds = [(TYPES.index(tensor.dtype), tensor.numel()) for tensor in rounds[0]]
    layout = kernels.Layout(kinds, torch.device("cpu"))
    measured = []
    for tensors in rounds:
        rows = torch.full((len(tensors), kernels.COLUMNS), -1.0, dtype=torch.float64)
        layout.measure(array("q", [tensor.data_ptr() for tensor in tensors]).tobytes(), rows)
        measured.append(rows.tolist())
    return measured

def gate(cases):
    answers = []
    for rows, before, bounds in cases:
        rows, before = (torch.tensor(part, dtype=torch.float64) for part in (rows, before))
        flag = torch.full((), 7.0)
        kernels.gate(rows, before, Bounds(*bounds), flag)
        answers.append([flag.item(), rows[-1, 1].item()])
    return answers

for line in sys.stdin:
    name, arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), flush=True)
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Calls a function of the interpreting process."""
    pytest.importorskip("triton")
    errors = tmp_path_factory.mktemp("triton") / "errors"
    with open(errors, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"},
        )

    def call(name, *arguments):
        print(json.dumps([name, arguments]), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, errors.read_text()
        return json.loads(answer)

    yield call
    process.communicate()


@pytest.fixture
def interpreted(call, tmp_path):
    def measure(*rounds, chunk=1 << 16):
        path = tmp_path / "tensors.pt"
        torch.save(list(rounds), path)
        return call("measure", str(path), chunk)

    return measure


def check(tensor, row):
    norm, max_abs, non_finite, subnormal, non_zero = row
    found = {
        "tensor_norm": norm,
        "max_abs": max_abs,
        "numel": tensor.numel(),
        "non_finite": non_finite,
        "subnormal": subnormal,
        "zero": tensor.numel() - non_zero,
    }
    assert found == pytest.approx(brute(tensor), rel=1e-12, nan_ok=True)


def test_kernels_against_the_plainest_code(interpreted):
    unaligned = torch.randn(70_001)[1:]
    strange = torch.tensor([1e-45, -1e-39, 3.4e38, 0.0, -math.inf, math.nan, -1.0])
    tensors = [row.detach() for row in ROWS.values() if row.is_contiguous()]
    tensors += [unaligned, strange, strange.bfloat16(), strange.half(), strange.double() * 1e-300]
    tensors += [torch.randn(65_536 * 2 + 3), torch.zeros(3, 3), torch.empty(0)]
    assert unaligned.data_ptr() % 16 != 0
    rows, later = interpreted(tensors, [tensor * -2 for tensor in tensors])
    assert len(rows) == len(tensors) > 15
    for tensor, row, row_later in zip(tensors, rows, later):
        check(tensor, row)
        # Other tensors of the same shapes are read at their own addresses.
        check(tensor * -2, row_later)


def test_the_gate_is_open_within_the_bounds_and_for_nothing_else(call):
    count = 300

    def rows(norm=2.0, bad=0.0, loss=1.0, weight=10.0, first=None):
        parts = [[norm / math.sqrt(count), 0.0, 0.0, 0.0, 0.0] for _ in range(count)]
        parts[200][2] = bad
        weights = [[weight / math.sqrt(count), 0.0, 0.0, 0.0, 0.0] for _ in range(count)]
        if first is not None:
            weights[140][0] = first
        return [*parts, *weights, [loss, 0.0, 0.0, 0.0, 0.0]]

    bounds = (3.0, 1.5, 5.0, 20.0, 1.0)
    open_, closed = [], []
    open_ += [rows(), rows(norm=0.0), rows(norm=2.9999), rows(loss=1.4999), rows(loss=-1e30)]
    open_ += [rows(weight=5.01), rows(weight=19.9), rows(first=1.55)]
    closed += [rows(norm=3.0001), rows(norm=math.nan), rows(norm=math.inf), rows(bad=1.0)]
    closed += [rows(loss=1.5001), rows(loss=math.nan), rows(loss=math.inf), rows(loss=-math.inf)]
    closed += [
        rows(weight=4.99),
        rows(weight=20.1),
        rows(weight=math.nan),
        rows(first=1.6),
        rows(first=math.nan),
    ]
    cases = [(case, rows(), bounds) for case in open_ + closed]
    # A bound beyond float32.
    cases += [(rows(), rows(), (3.0, 1e300, 5.0, 20.0, 1.0))]
    answers = call("gate", cases)
    assert answers == [[0.0, 0.0]] * len(open_) + [[1.0, 1.0]] * len(closed) + [[0.0, 0.0]]


def test_nothing_to_measure_but_empty_tensors(interpreted):
    assert interpreted([torch.empty(0), torch.empty(2, 0)]) == [[[0.0] * 5] * 2]


def test_one_chunk_for_each_tensor(interpreted):
    tensors = [torch.randn(7, 5), torch.randn(1024).half(), torch.tensor([math.inf, -2.0])]
    ((*rows,),) = interpreted(tensors)
    for tensor, row in zip(tensors, rows):
        check(tensor, row)


def test_more_chunks_than_are_added_up_at_once(interpreted):
    tensor = torch.randn(2048 * 300 + 5)
    ((row,),) = interpreted([tensor], chunk=2048)
    check(tensor, row)
