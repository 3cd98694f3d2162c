"""`mycoswarm nodes`: the machines of the swarm."""

import click

from mycoswarm.cli.app import App, Verb, complete_nodes, json_option, pass_app


@click.command(cls=Verb)
@click.option(
    "--why",
    "why",
    metavar="NODE",
    default=None,
    help="One node (name, or start of its id): the reason for its state, and how that changed.",
    shell_complete=complete_nodes,
)
@json_option
@pass_app
def nodes(app: App, why: str | None, as_json: bool) -> None:
    """List the machines: state, when last seen, roles, hardware."""
    from mycoswarm.cli import render, render_swarm

    client = app.client()
    if why is None:
        view = client.nodes()
        if as_json:
            app.printer.json(view)
        else:
            app.printer.table(render.nodes(view, client.node().swarm))
        return
    history = client.history(why)
    if as_json:
        app.printer.json(history)
        return
    app.printer.facts(
        [
            *render.node_facts(history.node, client.node().swarm),
            *render_swarm.origin(history, client.nodes()),
        ]
    )
    if history.changes:
        app.printer.line()
        app.printer.table(render_swarm.history(history.changes))
