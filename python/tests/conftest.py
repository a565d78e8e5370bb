import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The models are tiny: a second thread of PyTorch would only wait, and spin while it does. Tests of
# threads set their own number. Processes that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def processes():
    """Starts processes as copies of one that has imported PyTorch, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["steadygrad.torch"])
    return context


@pytest.fixture(scope="session")
def steadygrad():
    """Calls the command that `pip install` put beside this Python."""
    command = Path(sys.executable).with_name("steadygrad")

    def call(*arguments):
        return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)

    return call
