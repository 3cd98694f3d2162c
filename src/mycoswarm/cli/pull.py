"""`mycoswarm pull`: fetch a model."""

import click

from mycoswarm.cli.app import App, Verb, complete_nodes, pass_app


@click.command(cls=Verb)
@click.argument("name")
@click.option(
    "--node", default="", help="The node that shall hold it; else the best for it.", shell_complete=complete_nodes
)
@click.option("--keep", is_flag=True, help="Keep the node that had to be started for this.")
@pass_app
def pull(app: App, name: str, node: str, keep: bool) -> None:
    """Fetch a model onto the best node, or onto a named one. Stopped, it goes on where it was."""
    from mycoswarm.cli import session

    with session.node(app, keep=keep) as client:
        session.fetch(app, client, name, node)
