"""`mycoswarm leave`: leave the swarm."""

from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app

if TYPE_CHECKING:
    from mycoswarm.core.views import Left, NodeDetail


@click.command(cls=Verb)
@click.option("--purge", is_flag=True, help="Then stop the node and delete everything of mycoSwarm on this machine.")
@click.option("--keep-models", is_flag=True, help="Spare the fetched models from --purge.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def leave(app: App, purge: bool, keep_models: bool, yes: bool, as_json: bool) -> None:
    """Leave the swarm: this machine forgets its roster and is on its own again. To return it needs a new code.

    With --purge nothing of it is left on this machine either: identity, settings, history, log and fetched models. The
    program itself stays, and so do models that lie in a folder of your own (`models_dir`).
    """
    from mycoswarm.client import daemon
    from mycoswarm.core.errors import Refused
    from mycoswarm.core.views import Left

    if keep_models and not purge:
        raise click.UsageError("--keep-models goes with --purge only")
    client = app.client()
    detail = client.node()
    if not yes and (detail.swarm is not None or purge):
        if not app.printer.can_ask:
            what = f"leaving “{detail.swarm.name}”" if detail.swarm is not None else "deleting everything"
            options = (" --purge" if purge else "") + (" --keep-models" if keep_models else "")
            raise Refused(f"{what} needs a yes", f"mycoswarm leave{options} --yes")
        if not app.printer.confirm(_question(detail, purge=purge, keep_models=keep_models), default=False):
            app.printer.note("Nothing was changed.")
            return
    # A solo node that is to be purged has nothing to leave; otherwise the node says that there is no swarm.
    view = Left("") if purge and detail.swarm is None else client.leave()
    if purge:
        app.printer.status("deleting …")
        _trust_no_more(app)
        try:
            daemon.end(app.paths)
            daemon.purge(app.paths, keep_models=keep_models)
        finally:
            app.printer.clear_status()
    if as_json:
        app.printer.json(view)
    else:
        _say(app, view, purge=purge, keep_models=keep_models)


def _trust_no_more(app: App) -> None:
    """Take out of this computer's lists what `certs trust` has put there."""
    from mycoswarm.client import trust

    computer = trust.here()
    for mark, file in trust.kept(app.paths.state):
        for place in trust.places(computer, mark):
            if not place.needs_root or computer.is_root:
                trust.uninstall(computer, place, file)
            if trust.holds(computer, place, file):
                done = f": {trust.by_hand(place, file, remove=True)}" if place.needs_root else ""
                app.printer.note(f"This computer still trusts the web CA, by {place.title}{done}", style="")


def _question(detail: "NodeDetail", *, purge: bool, keep_models: bool) -> str:
    gone = "this machine's identity, settings, history" + (" and log" if keep_models else ", log and fetched models")
    if detail.swarm is None:
        return f"Delete {gone}? It cannot be undone."
    if purge:
        return f"Leave “{detail.swarm.name}” and delete {gone}? It cannot be undone."
    return f"Leave “{detail.swarm.name}”? To return, this machine needs a new code."


def _say(app: App, view: "Left", *, purge: bool, keep_models: bool) -> None:
    if view.swarm:
        app.printer.line(f"This machine has left “{view.swarm}”.")
        if view.members and not view.told:
            app.printer.note(
                "None of its other machines could be told, so they still count this one as a member. "
                + (
                    "To take it out: mycoswarm remove, on a keeper."
                    if purge
                    else "Delete its state directory if it goes to somebody else."
                )
            )
    if purge:
        kept = "the fetched models" if keep_models else "the program"
        app.printer.line(f"Everything of mycoSwarm on this machine is deleted but {kept}.")
