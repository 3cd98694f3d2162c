"""`mycoswarm config`: the settings in force, and where each comes from."""

from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app

if TYPE_CHECKING:
    from mycoswarm.core.settings import Loaded


@click.group()
def config() -> None:
    """Show the settings in force.

    They come from flags of `up`, then MYCOSWARM_* variables, then config.toml, then the defaults.
    """


@config.command(cls=Verb)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@json_option
@pass_app
def show(app: App, origin: bool, as_json: bool) -> None:
    """Show every setting with its value and meaning."""
    import msgspec

    from mycoswarm.cli.printer import Cell, Table
    from mycoswarm.core.settings import TABLE

    loaded = _load(app)
    values = msgspec.to_builtins(loaded.settings)
    if as_json:
        with_origin = {key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()}
        app.printer.json(with_origin if origin else values)
        return
    rows = tuple(
        (
            Cell(row.key, "strong"),
            Cell(_toml(values[row.key]), "" if loaded.origins[row.key] == "default" else "accent"),
            *((Cell(loaded.origins[row.key]),) if origin else ()),
            Cell(row.help, "dim"),
        )
        for row in TABLE
    )
    app.printer.table(Table(("setting", "value", *(("origin",) if origin else ()), "meaning"), rows))


@config.command(cls=Verb)
@pass_app
def path(app: App) -> None:
    """Print where config.toml is looked for."""
    app.printer.line(str(app.paths.settings_file))


@config.command(cls=Verb)
@click.argument("key")
@pass_app
def get(app: App, key: str) -> None:
    """Print the value of one setting."""
    import difflib

    import msgspec

    from mycoswarm.core.errors import NotFound

    values = msgspec.to_builtins(_load(app).settings)
    if key not in values:
        near = difflib.get_close_matches(key, values, 1)
        raise NotFound(f"no setting `{key}`", f"did you mean `{near[0]}`?" if near else "mycoswarm config show")
    value = values[key]
    app.printer.line(",".join(value) if isinstance(value, list | tuple) else str(value))


def _load(app: App) -> "Loaded":
    from mycoswarm.client import settings_file

    return settings_file.load(app.paths)


def _toml(value: object) -> str:
    """A value as config.toml would hold it."""
    import json

    return json.dumps(value, ensure_ascii=False)
