from tests.cli.conftest import fake_daemon, node, paths

__all__ = ["fake_daemon", "node", "paths"]
