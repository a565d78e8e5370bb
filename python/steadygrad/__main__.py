"""The command `steadygrad`: `diagnose`, `report` and `explain`, on the logs of any training run."""

import signal
import sys

from . import _native


def main() -> None:
    # All the work is done outside of Python, which would see Ctrl-C only after it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.command(["steadygrad", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
