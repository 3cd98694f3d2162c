"""[io] config.toml, read the same way by the node and by `mycoswarm config`."""

from collections.abc import Mapping
from typing import Any

from mycoswarm.core import settings
from mycoswarm.core.errors import InvalidRequest, NotWritable
from mycoswarm.core.paths import Paths
from mycoswarm.core.settings import Loaded


def load(paths: Paths, flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings in force; a missing file is an empty one.

    Raises:
        NotWritable: the file is there and may not be read.
        InvalidRequest: it is no UTF-8 text, no TOML, or says something impossible.
    """
    file = paths.settings_file
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        text = None
    except OSError as problem:
        raise NotWritable(f"{file} cannot be read ({problem.strerror})", "mend its permissions") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file} is not UTF-8 text", "save it as UTF-8, or remove the file") from None
    return settings.load(text, flags=flags, file_name=str(file))
