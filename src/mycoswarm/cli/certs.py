"""`mycoswarm certs`: the web CA by which other computers know this swarm's nodes."""

import click

from mycoswarm.cli.app import App, Verb, global_options, json_option, pass_app


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

    It says where before it does anything, and what it did. On a computer without mycoSwarm: install what --print says
    with the commands of `mycoswarm certs show`.
    """
    from mycoswarm.client import trust as stores
    from mycoswarm.core.errors import Fixable, Refused

    view = app.client().certificate()
    if print_:
        if remove:
            raise click.UsageError("--print and --remove do not go together")
        app.printer.out.write(view.authority)
        return
    computer = stores.here()
    mark = stores.mark_of(view.fingerprint)
    file = stores.keep(app.paths.state, mark, view.authority)
    places = stores.places(computer, mark)
    mine = tuple(place for place in places if computer.is_root or not place.needs_root)
    for place in places:
        if place not in mine and (not remove or stores.holds(computer, place, file)):
            done = stores.by_hand(place, file, remove=remove)
            app.printer.note(f"{place.title} needs the administrator: {done}", style="")
    if not mine:
        raise Fixable(
            "there is no list of authorities here that can be changed with your rights",
            "see `mycoswarm certs show` for the commands",
        )
    titles = " and ".join(place.title for place in mine)
    if not yes:
        what = "removing the web CA" if remove else "trusting the web CA"
        if not app.printer.can_ask:
            raise Refused(f"{what} needs a yes", f"mycoswarm certs trust{' --remove' if remove else ''} --yes")
        app.printer.note(f"SHA-256 {view.fingerprint}", style="")
        question = f"Remove it from {titles}?" if remove else f"Add it to {titles}?"
        if not app.printer.confirm(question, default=not remove):
            app.printer.note("Nothing was changed.")
            return
    carry_out = stores.uninstall if remove else stores.install
    steps = [carry_out(computer, place, file) for place in mine]
    for step in steps:
        if not step.failed:
            where = f" ({step.place.file})" if step.place.file is not None else ""
            app.printer.line(f"{'Removed from' if remove else 'Added to'} {step.place.title}{where}.")
    if failed := [step for step in steps if step.failed]:
        raise Fixable(
            f"{failed[0].place.title}: {failed[0].failed}", "see `mycoswarm certs show` for the commands to run by hand"
        )
