"""`mycoswarm invite`: let another machine in."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app
from mycoswarm.cli.durations import Duration, spelled


@click.command(cls=Verb)
@click.option("--headless", is_flag=True, help="A long code, good for a day, for a machine without a screen.")
@click.option(
    "--open",
    "open_for",
    type=Duration(1.0, 3600.0),
    metavar="DURATION",
    default=None,
    help="Let in whoever asks, without a code, for e.g. 10m; an hour at most.",
)
@click.option("--name", default="", help="The swarm's name, when this founds it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before the swarm is opened.")
@json_option
@pass_app
def invite(app: App, headless: bool, open_for: float | None, name: str, yes: bool, as_json: bool) -> None:
    """Let another machine in: show a code to type there. The first invitation founds the swarm.

    In a pipe it prints the code alone. A headless machine takes it from MYCOSWARM_JOIN or from the file `join` beside
    its config.toml. The recovery phrase of a new swarm is shown each time until another machine has joined, on a
    terminal only (or as part of --json).
    """
    from mycoswarm.cli import render_swarm, words
    from mycoswarm.core.errors import Refused
    from mycoswarm.core.views import InviteBody

    if headless and open_for is not None:
        raise click.UsageError("--headless makes a code, --open does without one: take one of them")
    client = app.client()
    if open_for is not None and not yes:
        span = words.duration(open_for)
        if not app.printer.can_ask:
            raise Refused(
                f"letting in whoever asks for {span} needs a yes", f"mycoswarm invite --open {spelled(open_for)} --yes"
            )
        question = (
            f"For {span} any machine on this network that asks becomes a member, strangers' included, "
            "and may use your models. Open the swarm?"
        )
        if not app.printer.confirm(question, default=False):
            app.printer.note("Nothing was opened.")
            return
    view = client.invite(InviteBody(headless, name, open_for or 0.0))
    if as_json:
        app.printer.json(view)
        return
    if app.printer.on_terminal:
        for text, style in render_swarm.invitation(view):
            app.printer.line(text, style)
    elif view.code:
        app.printer.line(view.code)
    else:
        app.printer.note(f"“{view.swarm}” is open for {words.duration(view.expires_in)}: mycoswarm join", style="")
    if not view.phrase:
        return
    if app.printer.on_terminal or app.printer.notes_on_terminal:
        # Never into a pipe, which expects a code and may end in a log.
        shown = app.printer if app.printer.on_terminal else app.printer.beside()
        for text, style in render_swarm.recovery_phrase(view):
            shown.line(text, style)
    else:
        app.printer.note(
            "The recovery phrase of this new swarm was not shown, because nobody is at a terminal. Until another "
            "machine has joined, `mycoswarm invite` shows it at one (or with --json); then it is kept nowhere"
        )
