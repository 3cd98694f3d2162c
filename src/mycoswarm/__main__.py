"""`python -m mycoswarm` is the command `mycoswarm`."""

import sys

from mycoswarm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
