"""`mycoswarm models`: which models exist, where, and what could be fetched."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@json_option
@pass_app
def models(app: App, as_json: bool) -> None:
    """List the models of every machine: loaded, on disk, or why one does not fit; and what `pull` could fetch."""
    from mycoswarm.cli import render

    view = app.client().models()
    if as_json:
        app.printer.json(view)
        return
    available = render.models(view)
    if available.rows:
        app.printer.table(available)
    else:
        app.printer.note(f"The swarm has no model yet. Fetch one: mycoswarm pull {render.starter(view).name}", style="")
    if (more := render.catalog(view)) is not None:
        app.printer.line()
        app.printer.table(more)
