"""The command line with the fake node in the daemon's place: `python -m tests.cli.drive VERB …`, for eyes and tests."""

import sys

from mycoswarm.cli.main import main
from mycoswarm.client import daemon

FAKE_DAEMON = (sys.executable, "-m", "tests.cli.fake_node")

if __name__ == "__main__":
    daemon.COMMAND = FAKE_DAEMON
    sys.exit(main())
