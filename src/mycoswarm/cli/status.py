"""`mycoswarm status`: the swarm at a glance."""

from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app

if TYPE_CHECKING:
    from mycoswarm.client.http import Client
    from mycoswarm.core.views import NodeDetail, Waiting


@click.command(cls=Verb)
@json_option
@pass_app
def status(app: App, as_json: bool) -> None:
    """Show the swarm at a glance: this node, who is up, what is loaded, what is wrong, who asks to be let in."""
    from mycoswarm.cli import render

    client = app.client()
    detail = client.node()
    if as_json:
        app.printer.json(detail)
        return
    facts, advice = render.status(
        detail, client.nodes(), client.models(), client.ps(), client.health(), at_the_door(client, detail)
    )
    app.printer.facts(facts)
    if advice:
        app.printer.note(advice, style="")


def at_the_door(client: "Client", detail: "NodeDetail") -> "tuple[Waiting, ...]":
    """Machines that ask to be let in by this one; none where it is no keeper, or the asker may not know."""
    from mycoswarm.core.errors import NotWritable, Refused

    if detail.swarm is None or detail.view.id not in detail.swarm.keepers:
        return ()
    try:
        return client.waiting().waiting
    except (Refused, NotWritable):  # another user's node: the rest of what is shown here is free
        return ()
