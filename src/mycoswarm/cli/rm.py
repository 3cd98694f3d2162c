"""`mycoswarm rm`: delete a model."""

import click

from mycoswarm.cli.app import App, Verb, complete_models, complete_nodes, json_option, pass_app


@click.command(cls=Verb)
@click.argument("name", shell_complete=complete_models)
@click.option("--node", default="", help="The node that holds it, where several do.", shell_complete=complete_nodes)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def rm(app: App, name: str, node: str, yes: bool, as_json: bool) -> None:
    """Delete a model from a node's disk."""
    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    client = app.client()
    if not yes:
        if not app.printer.can_ask:
            raise Refused(f"deleting {name} needs a yes", f"mycoswarm rm {name} --yes")
        if not app.printer.confirm(f"Delete {name}{' from ' + node if node else ''}?", default=False):
            app.printer.note("Nothing was deleted.")
            return
    view = client.remove(name, node)
    if as_json:
        app.printer.json(view)
    else:
        app.printer.line(f"{view.name} is deleted; {words.size(view.freed)} are free again.")
