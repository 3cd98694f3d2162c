"""`mycoswarm status`: the swarm at a glance."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Show the swarm at a glance: this node, who is up, what is loaded, what is wrong."""
    from mycoswarm.cli import render
    from mycoswarm.cli.printer import Cell

    client = app.client()
    detail = client.node()
    if as_json:
        app.printer.json(detail)
        return
    facts, warnings, advice = render.status(detail, client.nodes(), client.models(), client.ps())
    app.printer.facts([*facts, *(("warning", Cell(warning, "warn")) for warning in warnings)])
    if advice:
        app.printer.note(advice, style="")
