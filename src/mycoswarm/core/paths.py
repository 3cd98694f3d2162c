"""Where things lie: XDG directories, or everything below MYCOSWARM_HOME."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Paths:
    """The four directories. Nothing is created here; whoever writes makes them, 0700."""

    config: Path
    state: Path
    data: Path
    cache: Path

    @property
    def settings_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def join_file(self) -> Path:
        """A headless machine's code, beside its settings."""
        return self.config / "join"

    @property
    def node_file(self) -> Path:
        """Where the running node says its port, pid and version (JSON)."""
        return self.state / "node.json"

    @property
    def token_file(self) -> Path:
        """The 0600 token for everything on the user port that is not free."""
        return self.state / "token"

    @property
    def keys_file(self) -> Path:
        """Hashes of the API keys, with what each is good for."""
        return self.state / "keys.json"

    @property
    def log_file(self) -> Path:
        return self.state / "node.log"

    @property
    def egress_ledger(self) -> Path:
        return self.state / "egress.jsonl"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def downloads(self) -> Path:
        return self.cache / "downloads"


def resolve(environ: Mapping[str, str] = os.environ) -> Paths:
    """The directories of this user (or of `MYCOSWARM_HOME`)."""
    if home := environ.get("MYCOSWARM_HOME"):
        base = Path(home).expanduser().absolute()
        return Paths(base / "config", base / "state", base / "data", base / "cache")
    dirs = platformdirs.PlatformDirs("mycoswarm", appauthor=False)
    return Paths(dirs.user_config_path, dirs.user_state_path, dirs.user_data_path, dirs.user_cache_path)
