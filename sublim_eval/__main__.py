"""`python -m sublim_eval`: the command `sublim` where no script of that name is on the path."""

import sys

from sublim_eval.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
