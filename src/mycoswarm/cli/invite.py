"""`mycoswarm invite`: let another machine in."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@click.option("--headless", is_flag=True, help="A long code, good for a day, for a machine without a screen.")
@click.option("--name", default="", help="The swarm's name, when this founds it.")
@json_option
@pass_app
def invite(app: App, headless: bool, name: str, as_json: bool) -> None:
    """Let another machine in: show a code to type there. The first invitation founds the swarm.

    In a pipe it prints the code alone. A headless machine takes it from MYCOSWARM_JOIN or from the file `join` beside
    its config.toml.
    """
    from mycoswarm.cli import render
    from mycoswarm.core.views import InviteBody

    view = app.client().invite(InviteBody(headless, name))
    if as_json:
        app.printer.json(view)
    elif not app.printer.on_terminal:
        app.printer.line(view.code)
    else:
        for text, style in render.invitation(view):
            app.printer.line(text, style)
