import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def steadygrad():
    """Calls the command that `pip install` put beside this Python."""
    command = Path(sys.executable).with_name("steadygrad")

    def call(*arguments):
        return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)

    return call
