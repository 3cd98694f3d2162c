import os
from pathlib import Path

import pytest

from mycoswarm.client import settings_file
from mycoswarm.core.errors import InvalidRequest, NotWritable
from mycoswarm.core.paths import Paths, resolve


def _write(paths: Paths, data: bytes) -> None:
    paths.config.mkdir(parents=True)
    paths.settings_file.write_bytes(data)


def test_no_file_says_nothing(paths: Paths) -> None:
    assert settings_file.load(paths).origins["patience"] == "default"
    below_a_file = resolve({"MYCOSWARM_HOME": os.devnull + "/x"})
    assert settings_file.load(below_a_file).origins["patience"] == "default"


def test_flags_go_before_the_file(paths: Paths) -> None:
    _write(paths, 'name = "Spinnennest – ü"\npatience = 7\n'.encode())
    loaded = settings_file.load(paths, {"name": "boa"})
    assert (loaded.settings.name, loaded.settings.patience) == ("boa", 7.0)
    assert loaded.origins["patience"] == "file"


def test_what_is_no_text(paths: Paths) -> None:
    _write(paths, b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match=r"config\.toml is not UTF-8 text"):
        settings_file.load(paths)


def test_what_cannot_be_read(paths: Paths) -> None:
    Path(paths.settings_file).mkdir(parents=True)
    with pytest.raises(NotWritable, match=r"config\.toml cannot be read \(Is a directory\)"):
        settings_file.load(paths)
