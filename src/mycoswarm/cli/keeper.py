"""`mycoswarm keeper`: the machines that may let others in and out."""

from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, complete_nodes, global_options, json_option, pass_app, swarm_of

if TYPE_CHECKING:
    from mycoswarm.core.node import SwarmInfo


@click.group(invoke_without_command=True, params=global_options())
@json_option
@click.pass_context
def keeper(context: click.Context, as_json: bool) -> None:
    """Show or change who may let machines in and out of the swarm. Alone it lists them."""
    if context.invoked_subcommand is None:
        context.invoke(ls, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json stands behind `{context.invoked_subcommand}`")


@keeper.command(cls=Verb)
@json_option
@pass_app
def ls(app: App, as_json: bool) -> None:
    """List the keepers. JSON: the swarm, with their ids."""
    from mycoswarm.cli import render_swarm

    client = app.client()
    swarm = swarm_of(client)
    if as_json:
        app.printer.json(swarm)
        return
    app.printer.table(render_swarm.keepers(swarm, client.nodes()))
    if len(swarm.keepers) == 1:
        app.printer.note("If it is lost, nobody can let machines in. Make a second one: mycoswarm keeper add NODE")


@keeper.command(cls=Verb)
@click.argument("node", shell_complete=complete_nodes)
@json_option
@pass_app
def add(app: App, node: str, as_json: bool) -> None:
    """Make a member a keeper: it may then invite, admit, remove, and make others keepers."""
    _show(app, app.client().add_keeper(node), f"{node} is a keeper now", as_json=as_json)


@keeper.command("remove", cls=Verb)
@click.argument("node", shell_complete=complete_nodes)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def remove_(app: App, node: str, yes: bool, as_json: bool) -> None:
    """Make a keeper a plain member again. Whom it has let in so far stays."""
    from mycoswarm.core.errors import Refused

    client = app.client()
    if not yes:
        swarm_of(client)
        if not app.printer.can_ask:
            raise Refused(f"making {node} a plain member needs a yes", f"mycoswarm keeper remove {node} --yes")
        if not app.printer.confirm(f"Shall {node} keep the roster no more? It stays a member.", default=False):
            app.printer.note("Nothing was changed.")
            return
    _show(app, client.remove_keeper(node), f"{node} is a keeper no more", as_json=as_json)


@keeper.command(cls=Verb)
@click.option(
    "--without",
    multiple=True,
    metavar="NODE",
    help="A lost or stolen keeper to remove for ever; may be repeated.",
    shell_complete=complete_nodes,
)
@json_option
@pass_app
def recover(app: App, without: tuple[str, ...], as_json: bool) -> None:
    """Make this machine a keeper by the recovery phrase, when every keeper is lost.

    The twelve words are asked for, or read from standard input; never given as an argument, where other programs and
    the shell's history would see them. They are shown while they are typed: twelve words go wrong in the dark.
    """
    import sys

    from mycoswarm.core.errors import InvalidRequest
    from mycoswarm.core.views import RecoverBody

    client = app.client()
    if app.printer.can_ask:
        app.printer.note("The recovery phrase was shown when the swarm was founded.", style="")
        typed = app.printer.ask("The twelve words:")
    else:
        typed = sys.stdin.readline() if sys.stdin is not None else ""
    phrase = " ".join(typed.casefold().split())
    if not phrase:
        raise InvalidRequest("no recovery phrase was given", "type its twelve words, or send them to standard input")
    app.printer.status("working the key out of the words …")
    try:
        swarm = client.recover(RecoverBody(phrase, without))
    finally:
        app.printer.clear_status()
    gone = f"; removed for ever: {', '.join(without)}" if without else ""
    _show(app, swarm, f"This machine is a keeper now{gone}", as_json=as_json)


def _show(app: App, swarm: "SwarmInfo", said: str, *, as_json: bool) -> None:
    from mycoswarm.cli import words

    if as_json:
        app.printer.json(swarm)
    else:
        app.printer.line(f"{said} (“{swarm.name}”, {words.count(len(swarm.keepers), 'keeper')}).")
