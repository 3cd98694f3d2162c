"""`mycoswarm leave`: leave the swarm."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def leave(app: App, yes: bool, as_json: bool) -> None:
    """Leave the swarm: this machine forgets its roster and is on its own again. To return it needs a new code."""
    from mycoswarm.core.errors import Refused

    client = app.client()
    swarm = client.node().swarm
    if swarm is not None and not yes:
        if not app.printer.can_ask:
            raise Refused(f"leaving “{swarm.name}” needs a yes", "mycoswarm leave --yes")
        if not app.printer.confirm(f"Leave “{swarm.name}”? To return, this machine needs a new code.", default=False):
            app.printer.note("Nothing was changed.")
            return
    view = client.leave()
    if as_json:
        app.printer.json(view)
    else:
        app.printer.line(f"This machine has left “{view.swarm}”.")
        if view.members and not view.told:
            app.printer.note(
                "None of its other machines could be told, so they still count this one as a member. "
                "Delete its state directory if it goes to somebody else."
            )
