"""`mycoswarm down`: stop this node."""

import click

from mycoswarm.cli.app import App, Verb, pass_app


@click.command(cls=Verb)
@pass_app
def down(app: App) -> None:
    """Stop this node, whoever started it."""
    from mycoswarm.client import daemon
    from mycoswarm.core.errors import DaemonUnreachable

    app.printer.status("stopping the node …")
    ended = daemon.end(app.paths)
    app.printer.clear_status()
    if ended is None:
        raise DaemonUnreachable("no node runs on this machine", "nothing needs to be stopped")
    app.printer.note(f"The node (process {ended.pid}) has stopped.", style="")
