"""Runs the command `steadygrad` on the logs of a training run."""

import signal
import sys

from . import _native


def main() -> None:
    # The native part does all the work, and Python would handle Ctrl-C only after it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.command(["steadygrad", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
