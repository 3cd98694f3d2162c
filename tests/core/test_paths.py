from pathlib import Path

import pytest

from mycoswarm.core.paths import resolve


def test_one_directory_holds_everything(tmp_path: Path) -> None:
    paths = resolve({"MYCOSWARM_HOME": str(tmp_path)})
    assert (paths.config, paths.state, paths.data, paths.cache) == tuple(
        tmp_path / name for name in ("config", "state", "data", "cache")
    )
    assert list(tmp_path.iterdir()) == []


def test_two_homes_share_nothing(tmp_path: Path) -> None:
    one, other = (resolve({"MYCOSWARM_HOME": str(tmp_path / name)}) for name in ("a", "b"))
    files = ("settings_file", "join_file", "node_file", "token_file", "log_file", "egress_ledger", "models")
    assert {getattr(one, name) for name in files}.isdisjoint(getattr(other, name) for name in files)


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert resolve({"MYCOSWARM_HOME": "here"}).state == tmp_path / "here" / "state"
    assert resolve({"MYCOSWARM_HOME": "~/swarm"}).state == tmp_path / "user" / "swarm" / "state"


@pytest.mark.parametrize("environ", [{}, {"MYCOSWARM_HOME": ""}])
def test_without_a_home_the_xdg_directories_count(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{part}_HOME", str(tmp_path / part))
    monkeypatch.setattr("sys.platform", "linux")
    paths = resolve(environ)
    assert paths.settings_file == tmp_path / "CONFIG" / "mycoswarm" / "config.toml"
    assert paths.join_file.parent == paths.settings_file.parent
    assert paths.token_file == tmp_path / "STATE" / "mycoswarm" / "token"
    assert paths.models == tmp_path / "DATA" / "mycoswarm" / "models"
    assert paths.downloads == tmp_path / "CACHE" / "mycoswarm" / "downloads"
