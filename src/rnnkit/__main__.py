"""`python -m rnnkit`: the command line, also for launchers that start a module."""

import sys

from rnnkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
