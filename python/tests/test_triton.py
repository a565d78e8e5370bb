"""The kernels for CUDA gradients, run on the CPU by Triton's interpreter."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from test_gradient_stats import ROWS, brute

# Triton decides once, when it is imported, whether it interprets.
SCRIPT = """
import json, sys, torch
from array import array
from steadygrad import _triton
rounds = torch.load(sys.argv[1])
_triton._CHUNK = int(sys.argv[2])
types = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
kinds = [(types.index(tensor.dtype), tensor.numel()) for tensor in rounds[0]]
layout = _triton.Layout(kinds, torch.device("cpu"))
measured = []
for tensors in rounds:
    rows = torch.full((len(tensors), _triton.COLUMNS), -1.0, dtype=torch.float64)
    layout.measure(array("q", [tensor.data_ptr() for tensor in tensors]).tobytes(), rows)
    measured.append(rows.tolist())
print(json.dumps(measured))
"""


def interpreted(tmp_path, *rounds, chunk=1 << 16):
    pytest.importorskip("triton")
    path = tmp_path / "tensors.pt"
    torch.save(list(rounds), path)
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, str(chunk)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


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


def test_kernels_against_the_plainest_code(tmp_path):
    unaligned = torch.randn(70_001)[1:]
    strange = torch.tensor([1e-45, -1e-39, 3.4e38, 0.0, -math.inf, math.nan, -1.0])
    tensors = [row.detach() for row in ROWS.values() if row.is_contiguous()]
    tensors += [unaligned, strange, strange.bfloat16(), strange.half(), strange.double() * 1e-300]
    tensors += [torch.randn(65_536 * 2 + 3), torch.zeros(3, 3), torch.empty(0)]
    assert unaligned.data_ptr() % 16 != 0
    rows, later = interpreted(tmp_path, tensors, [tensor * -2 for tensor in tensors])
    assert len(rows) == len(tensors) > 15
    for tensor, row, row_later in zip(tensors, rows, later):
        check(tensor, row)
        # Other tensors of the same shapes are read where they lie.
        check(tensor * -2, row_later)


def test_nothing_to_measure_but_empty_tensors(tmp_path):
    assert interpreted(tmp_path, [torch.empty(0), torch.empty(2, 0)]) == [[[0.0] * 5] * 2]


def test_one_chunk_for_each_tensor(tmp_path):
    tensors = [torch.randn(7, 5), torch.randn(1024).half(), torch.tensor([math.inf, -2.0])]
    ((*rows,),) = interpreted(tmp_path, tensors)
    for tensor, row in zip(tensors, rows):
        check(tensor, row)


def test_more_chunks_than_are_added_up_at_once(tmp_path):
    tensor = torch.randn(2048 * 300 + 5)
    ((row,),) = interpreted(tmp_path, [tensor], chunk=2048)
    check(tensor, row)
