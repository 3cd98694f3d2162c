"""`mycoswarm up`: start this node.

In the foreground the command *becomes* the node (exec), so that signals and the terminal are the node's own and no
second Python stays in memory; what there is to say to the person is said by `banner`, a process that ends at once.
"""

import os
import subprocess
import sys

import click

from mycoswarm.cli.app import App, Verb, pass_app


@click.command(cls=Verb)
@click.option("--name", default=None, help="This machine's name in the swarm; else its host name.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="User API, on loopback. [default: 6926]")
@click.option("--peer-port", type=click.IntRange(0, 65535), default=None, help="For the other nodes. [default: 6927]")
@click.option("--listen", type=click.Choice(["loopback", "lan"]), default=None, help="Who may use the user API.")
@click.option("--ollama-port", type=click.IntRange(0, 65535), default=None, help="Also Ollama's API, e.g. on 11434.")
@click.option("--announce", type=click.Choice(["yes", "no"]), default=None, help="no: unseen by others, and alone.")
@click.option("--peer", "peers", multiple=True, metavar="HOST[:PORT]", help="A member, where multicast is blocked.")
@click.option("--background", is_flag=True, help="Return when the node is ready; `mycoswarm down` stops it.")
@pass_app
def up(
    app: App,
    name: str | None,
    port: int | None,
    peer_port: int | None,
    listen: str | None,
    ollama_port: int | None,
    announce: str | None,
    peers: tuple[str, ...],
    background: bool,
) -> None:
    """Start this node, and say what it is, what it found, who is near and what to do next.

    It runs until Ctrl-C, or until `mycoswarm down`.
    """
    from mycoswarm.cli import banner
    from mycoswarm.client import daemon
    from mycoswarm.core.errors import Fixable

    running = daemon.find(app.paths)
    if running is not None:
        raise Fixable(
            f"a node runs on this machine already (process {running.pid}, port {running.port})",
            "stop it first: mycoswarm down"
            if running.private
            else "mycoswarm status shows it; mycoswarm down stops it",
        )
    given = {
        "name": name,
        "port": port,
        "peer-port": peer_port,
        "listen": listen,
        "ollama-port": ollama_port,
        "announce": announce,
    }
    flags = [part for key, value in given.items() if value is not None for part in (f"--{key}", str(value))]
    flags += [part for peer in peers for part in ("--peer", peer)]
    if background:
        app.printer.status("starting the node …")
        try:
            started = daemon.start(app.paths, flags, tied=False)
        finally:
            app.printer.clear_status()
        if not app.printer.quiet:
            banner.say(app.printer, daemon.client_of(started.node, app.paths))
        app.printer.note("The node runs in the background. To stop it: mycoswarm down; its log: mycoswarm logs")
        return
    if not app.printer.quiet:
        # It leaves this process's family by itself, so that the node it announces never has to reap it.
        subprocess.run([sys.executable, "-P", "-m", "mycoswarm.cli.banner", str(os.getpid())], check=False)
    app.printer.out.flush()
    app.printer.err.flush()
    os.execv(daemon.COMMAND[0], [*daemon.COMMAND, "run", *flags])  # noqa: S606 (no shell is the point)
