"""`mycoswarm remove`: take a machine out of the swarm for ever."""

import click

from mycoswarm.cli.app import App, Verb, complete_nodes, json_option, pass_app, swarm_of


@click.command(cls=Verb)
@click.argument("node", shell_complete=complete_nodes)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def remove(app: App, node: str, yes: bool, as_json: bool) -> None:
    """Take a machine out of the swarm for ever: lost, stolen, or given away.

    It is cut off at once, and its identity never returns. (A machine that you still have can come back as a new one:
    `mycoswarm leave --purge` there, then `join`.) Only a keeper can remove.
    """
    from mycoswarm.cli import words
    from mycoswarm.core.errors import InvalidRequest, NotFound, Refused

    printer = app.printer
    client = app.client()
    if not yes:
        swarm_of(client)
        view = client.history(node).node
        name = words.node_name(view)
        # As the node itself would say it, but before anybody has answered a question in vain.
        if view.state == "self":
            raise InvalidRequest(f"{name} is this machine itself", "mycoswarm leave takes it out")
        if view.state == "removed":
            raise NotFound(f"{name} is no member any more: {view.why}", "mycoswarm nodes shows who is one")
        if not printer.can_ask:
            raise Refused(f"removing {name} needs a yes", f"mycoswarm remove {node} --yes")
        question = f"Remove {name} ({view.id[:8]}) for ever? It is cut off at once, and what it asked for ends."
        if not printer.confirm(question, default=False):
            printer.note("Nothing was changed.")
            return
    gone = client.expel(node)
    if as_json:
        printer.json(gone)
        return
    printer.line(f"{gone.name} is out of the swarm for ever.")
    if gone.told < gone.members:
        printer.note(
            f"{gone.told} of {words.count(gone.members, 'other machine')} know it already; the rest hear it as soon "
            "as they are reached, and trust it until then.",
            style="",
        )
