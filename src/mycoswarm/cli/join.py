"""`mycoswarm join`: enter a swarm."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@click.argument("code")
@click.option("--peer", default="", metavar="HOST[:PORT]", help="Where the inviting machine is, if it is not found.")
@json_option
@pass_app
def join(app: App, code: str, peer: str, as_json: bool) -> None:
    """Enter a swarm with a code, the one that `mycoswarm invite` shows on any of its machines."""
    from mycoswarm.cli import words
    from mycoswarm.core.views import JoinBody

    client = app.client()
    app.printer.status("looking for the machine that invites …")
    try:
        view = client.join(JoinBody(code, peer))
    finally:
        app.printer.clear_status()
    if as_json:
        app.printer.json(view)
        return
    app.printer.line(
        f"This machine is now in “{view.swarm.name}” ({words.count(view.swarm.members, 'member')}).", "good"
    )
    app.printer.note("Talk: mycoswarm chat. Who is there: mycoswarm nodes", style="")
