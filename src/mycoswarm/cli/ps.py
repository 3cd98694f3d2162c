"""`mycoswarm ps`: what is loaded and what runs."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@json_option
@pass_app
def ps(app: App, as_json: bool) -> None:
    """Show what is loaded and running: the models in memory in the whole swarm, and this node's unfinished work."""
    import time

    from mycoswarm.cli import render

    client = app.client()
    view = client.ps()
    if as_json:
        app.printer.json(view)
        return
    if view.loaded:
        app.printer.table(render.running_models(view))
    else:
        app.printer.note("No model is loaded; the first question loads one.", style="")
    if view.tasks:
        names = {str(node.id): node.name for node in client.nodes().nodes}
        app.printer.line()
        app.printer.table(render.tasks(view.tasks, names, time.time()))
