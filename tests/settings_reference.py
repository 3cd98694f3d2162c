"""docs/settings.md, made from the table in code: `python -m tests.settings_reference` writes it anew."""

from pathlib import Path

from mycoswarm.core.settings import TABLE, Settings

FILE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = """# Settings

Made from the table in `core/settings.py` by `python -m tests.settings_reference`; a test fails when it is out of date.

A value comes from the first of these that has it: a flag, a `MYCOSWARM_…` variable, `config.toml`, the default.
`mycoswarm config show --origin` says where each came from, `mycoswarm config path` where the file lies. An unknown key
is an error that names the nearest known one. `MYCOSWARM_HOME=DIR` puts settings, state, data and cache below one
directory.

| key | default | variable | meaning |
|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    defaults = Settings()
    rows = [
        f"| `{row.key}` | {_shown(getattr(defaults, row.key))} | `MYCOSWARM_{row.key.upper()}` | {row.help} |"
        for row in TABLE
    ]
    return HEAD + "\n".join(rows) + "\n"


def _shown(value: object) -> str:
    if value in ("", ()):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
