"""`mycoswarm rotate`: a new key for this machine."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def rotate(app: App, yes: bool, as_json: bool) -> None:
    """Give this machine a new key, and with it a new id: when a backup or a disk with the old one is in other hands.

    It keeps its name and its place in the swarm; the old key is worth nothing from then on. The node starts again.
    """
    from mycoswarm.client import daemon
    from mycoswarm.core.errors import Fixable, Refused

    printer = app.printer
    client = app.client()
    if not yes:
        if not printer.can_ask:
            raise Refused("a new key needs a yes", "mycoswarm rotate --yes")
        question = "Give this machine a new key? Its id changes, and answers under way here are cut off."
        if not printer.confirm(question, default=False):
            printer.note("Nothing was changed.")
            return
    view = client.rotate()
    printer.status("starting again under the new key …")
    try:
        back = daemon.wait_for(app.paths, view.after)
    finally:
        printer.clear_status()
    if as_json:
        printer.json(view)
    else:
        printer.line(f"This machine was {view.before[:8]} and is {view.after[:8]} now.")
    if not back:
        raise Fixable("the node has not come back under its new key", "`mycoswarm logs` may tell why; mycoswarm up")
