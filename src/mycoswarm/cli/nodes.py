"""`mycoswarm nodes`: the machines of the swarm."""

import difflib
from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, complete_nodes, json_option, pass_app

if TYPE_CHECKING:
    from mycoswarm.core.node import NodeView
    from mycoswarm.core.views import Nodes


@click.command(cls=Verb)
@click.option(
    "--why",
    "why",
    metavar="NODE",
    default=None,
    help="One node, and the reason for its state.",
    shell_complete=complete_nodes,
)
@json_option
@pass_app
def nodes(app: App, why: str | None, as_json: bool) -> None:
    """List the machines: state, when last seen, roles, hardware."""
    from mycoswarm.cli import render
    from mycoswarm.core.views import Nodes as Found

    view = app.client().nodes()
    if why is None:
        if as_json:
            app.printer.json(view)
        else:
            app.printer.table(render.nodes(view))
        return
    node = _named(view, why)
    if as_json:
        app.printer.json(Found((node,)))
    else:
        app.printer.facts(render.node_facts(node))


def _named(view: "Nodes", asked: str) -> "NodeView":
    """By name, or by the start of an id where only one fits."""
    from mycoswarm.core.errors import InvalidRequest, NotFound

    found = [node for node in view.nodes if node.name == asked]
    found = found or [node for node in view.nodes if node.id.startswith(asked.lower())]
    if not found:
        near = difflib.get_close_matches(asked, [node.name for node in view.nodes], 1)
        raise NotFound(f"no node `{asked}`", f"did you mean `{near[0]}`?" if near else "mycoswarm nodes lists them")
    if len(found) > 1:
        raise InvalidRequest(
            f"`{asked}` is the name of {len(found)} nodes", "use ids: " + ", ".join(node.id[:8] for node in found)
        )
    return found[0]
