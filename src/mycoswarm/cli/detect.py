"""`mycoswarm detect`: what this machine is."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@json_option
@pass_app
def detect(app: App, as_json: bool) -> None:
    """Show what this machine is and can do: CPU, memory, GPUs, disks, network, engines, and the roles that follow.

    Needs no running node.
    """
    import msgspec

    from mycoswarm.cli import render
    from mycoswarm.client import daemon
    from mycoswarm.core.hardware import Report

    app.printer.status("looking at this machine …")
    try:
        found = daemon.detect()
    finally:
        app.printer.clear_status()
    if as_json:
        app.printer.json(found)
        return
    for index, block in enumerate(render.report(msgspec.json.decode(found, type=Report))):
        if index:
            app.printer.line()
        if isinstance(block, list):
            app.printer.facts(block)
        else:
            app.printer.table(block)
