"""`mycoswarm certs`: the web CA by which other computers know this swarm's nodes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, global_options, json_option, pass_app
from mycoswarm.core.errors import Fixable, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycoswarm.client.trust import Computer, Place, Step


@click.group(params=global_options())
def certs() -> None:
    """Show the web CA, or trust it.

    It is the swarm's own authority, which signs the certificates by which other computers know its nodes. It can sign
    for names and addresses of local networks only (.local, 192.168.…, 10.…): trusting it never affects a public site.
    """


@certs.command(cls=Verb)
@json_option
@pass_app
def show(app: App, as_json: bool) -> None:
    """Show what to trust, what the certificate is good for, and how to install it on each system."""
    from mycoswarm.cli import render_access

    view = app.client().certificate()
    if as_json:
        app.printer.json(view)
        return
    app.printer.facts(render_access.certificate(view))
    for text in render_access.how_to_trust():
        app.printer.note(text, style="")


@certs.command(cls=Verb)
@click.option("--print", "print_", is_flag=True, help="Print the certificate (PEM) and change nothing.")
@click.option("--remove", is_flag=True, help="Trust it no more.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_app
def trust(app: App, print_: bool, remove: bool, yes: bool) -> None:
    """Make this computer trust the web CA, so that browsers and programs on it accept its nodes.

    It says where before it does anything, and what it did. One that was added here before is taken out then, and
    --remove takes out all. On a computer without mycoSwarm: install what --print says
    with the commands of `mycoswarm certs show`.
    """
    if print_ and remove:
        raise click.UsageError("--print and --remove do not go together")
    if remove:
        _forget(app, yes=yes)
        return
    view = app.client().certificate()
    if print_:
        app.printer.out.write(view.authority)
        return
    _install(app, view.authority, yes=yes)


def _install(app: App, certificate: str, *, yes: bool) -> None:
    from mycoswarm.client import trust as stores

    root = stores.read(certificate)
    computer = stores.here()
    file = stores.keep(app.paths.state, root)
    places = stores.places(computer, root.mark)
    mine = tuple(place for place in places if computer.is_root or not place.needs_root)
    for place in places:
        if place not in mine:
            app.printer.note(f"{place.title} needs the administrator: {stores.by_hand(place, file)}", style="")
    if not mine:
        raise Fixable(
            "there is no list of authorities here that can be changed with your rights",
            "see `mycoswarm certs show` for the commands",
        )
    app.printer.note(f"SHA-256 {root.fingerprint}", style="")
    if not _agreed(app, f"Add it to {_titles(mine)}?", "trusting the web CA", "", yes=yes):
        return
    steps = [stores.install(computer, place, file) for place in mine]
    _tell(app, "Added to", steps)
    # A CA is followed by another one because somebody who must not may have its key.
    for mark, old in stores.kept(app.paths.state):
        if mark != root.mark:
            _take_out(app, computer, mark, old)


def _forget(app: App, *, yes: bool) -> None:
    """Every web CA that this computer was ever told to trust; it takes no node, and no keeper within reach."""
    from mycoswarm.client import trust as stores

    computer = stores.here()
    kept = stores.kept(app.paths.state)
    held = [
        place for mark, file in kept for place in stores.places(computer, mark) if stores.holds(computer, place, file)
    ]
    if not held:
        app.printer.note("This computer trusts no web CA that was added here.")
        return
    if not _agreed(app, f"Remove it from {_titles(held)}?", "removing the web CA", " --remove", yes=yes):
        return
    for mark, file in kept:
        _take_out(app, computer, mark, file)


def _take_out(app: App, computer: "Computer", mark: str, file: Path) -> None:
    from mycoswarm.client import trust as stores

    held = [place for place in stores.places(computer, mark) if stores.holds(computer, place, file)]
    mine = [place for place in held if computer.is_root or not place.needs_root]
    for place in held:
        if place not in mine:
            done = stores.by_hand(place, file, remove=True)
            app.printer.note(f"{place.title} needs the administrator: {done}", style="")
    _tell(app, "Removed from", [stores.uninstall(computer, place, file) for place in mine])
    if mine == held:
        file.unlink(missing_ok=True)


def _agreed(app: App, question: str, what: str, flag: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not app.printer.can_ask:
        raise Refused(f"{what} needs a yes", f"mycoswarm certs trust{flag} --yes")
    if app.printer.confirm(question, default=not flag):
        return True
    app.printer.note("Nothing was changed.")
    return False


def _titles(places: "Sequence[Place]") -> str:
    return " and ".join(dict.fromkeys(place.title for place in places))


def _tell(app: App, done: str, steps: "Sequence[Step]") -> None:
    for step in steps:
        if not step.failed:
            where = f" ({step.place.file})" if step.place.file is not None else ""
            app.printer.line(f"{done} {step.place.title}{where}.")
    if failed := [step for step in steps if step.failed]:
        raise Fixable(
            f"{failed[0].place.title}: {failed[0].failed}", "see `mycoswarm certs show` for the commands to run by hand"
        )
