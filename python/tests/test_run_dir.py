"""A run directory is readable from Python, with nothing but pyarrow.

Reads the run directory that STEADYGRAD_RUN names; without it, one that the core's example
`write_run` writes, whose values are known.
"""

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

ROOT = Path(__file__).parents[2]
COLUMNS = {
    "step": pa.uint64(),
    "loss": pa.float64(),
    "learning_rate": pa.float64(),
    "learning_rate_scale": pa.float64(),
    "grad_norm": pa.float64(),
    "grad_norm_clipped": pa.float64(),
    "update_norm": pa.float64(),
    "weight_norm": pa.float64(),
    "non_finite": pa.uint64(),
    "subnormal": pa.uint64(),
    "batch": pa.uint64(),
    "decision": pa.string(),
}
# What a run need not measure.
OPTIONAL = {"update_norm", "weight_norm", "batch"}


def write_example(folder):
    cargo = os.environ.get("CARGO", "cargo")
    # With the whole workspace's features: with its own the crate and all below it would be built
    # anew.
    command = [cargo, "build", "--release", "-q", "--workspace", "--example", "write_run"]
    command += ["--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    program = next(
        filter(None, (json.loads(line).get("executable") for line in built.stdout.splitlines()))
    )
    subprocess.run([program, str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run(request):
    named = os.environ.get("STEADYGRAD_RUN")
    return Path(named) if named else request.getfixturevalue("example")


def read_steps(folder):
    with pa.ipc.open_stream(folder / "steps.arrow") as reader:
        return reader.read_all()


def test_the_steps_have_their_columns(run):
    table = read_steps(run)
    assert {name: table.schema.field(name).type for name in COLUMNS} == COLUMNS
    parameters = [name for name in table.column_names if name.startswith("grad_norm/")]
    manifest = json.loads((run / "run.json").read_text())
    assert parameters == [f"grad_norm/{name}" for name in manifest["parameters"]]
    assert parameters
    assert set(table.column_names) == {*COLUMNS, *parameters}
    assert all(table[name].type == pa.float64() for name in parameters)
    always = [table[name] for name in table.column_names if name not in OPTIONAL]
    assert all(column.null_count == 0 for column in always)


def test_the_steps_are_consistent(run):
    table = read_steps(run)
    assert table.num_rows > 0
    steps = table["step"].to_numpy()
    assert (np.diff(steps) == 1).all()
    decisions = table["decision"].to_pylist()
    assert set(decisions) <= {"keep", "scale_global", "stop"}
    norm, clipped = table["grad_norm"].to_numpy(), table["grad_norm_clipped"].to_numpy()
    kept = np.array([decision == "keep" for decision in decisions])
    np.testing.assert_array_equal(clipped[kept], norm[kept])
    broken = table["non_finite"].to_numpy() > 0
    np.testing.assert_array_equal(np.isfinite(norm), ~broken)


def test_the_incidents_are_one_json_object_a_line(run):
    for line in (run / "incidents.jsonl").read_text().splitlines():
        incident = json.loads(line)
        assert incident.keys() >= {"step", "decision", "rung", "learning_rate_scale", "detections"}
        for seen in incident["detections"]:
            assert seen.keys() >= {"detector", "place", "value", "threshold", "message"}
            # Python reads the words for what JSON has no number for.
            assert isinstance(float(seen["value"]), float)


def test_the_example_holds_what_was_written(example):
    table = read_steps(example).to_pydict()
    assert table["step"] == list(range(100))
    assert table["decision"][0] == "keep"
    assert table["decision"][-3:] == ["stop"] * 3
    assert all(math.isnan(loss) for loss in table["loss"][-3:])
    assert table["loss"][96] == math.inf
    assert table["grad_norm_clipped"][-3:] == [0.0] * 3
    assert table["subnormal"] == [2] * 100
    assert table["learning_rate_scale"] == [1.0] * 100
    assert table["batch"] == [*range(97), None, None, None]
    assert table["update_norm"] == [None] * 100
    assert table["weight_norm"] == pytest.approx([math.sqrt(2)] * 100)
    assert table["grad_norm"][10] == pytest.approx(math.sqrt(2) * 1e4, rel=1e-5)
    assert table["grad_norm/output.weight"][10] == pytest.approx(1e4, rel=1e-5)
