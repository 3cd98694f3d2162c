"""[io] A node to talk to: the running one, or a private one that ends with the command; and a model to talk with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mycoswarm.cli import render, words
from mycoswarm.client import daemon
from mycoswarm.client.http import Client
from mycoswarm.core.errors import CannotServe, Fixable
from mycoswarm.core.views import CatalogEntry, Models, PullBody

if TYPE_CHECKING:
    from mycoswarm.cli.app import App


@contextmanager
def node(app: "App", *, keep: bool = False) -> Iterator[Client]:
    """A client of a node: the one that runs, else one started now, which ends with the block unless `keep`."""
    found = daemon.find(app.paths)
    if found is not None:
        yield daemon.client_of(found, app.paths)
        return
    try:
        started = _start(app, keep=keep)
    except Fixable:
        # Another terminal may have been quicker: then its node is as good.
        found = daemon.find_soon(app.paths)
        if found is None:
            raise
        yield daemon.client_of(found, app.paths)
        return
    try:
        yield daemon.client_of(started.node, app.paths)
    finally:
        if keep:
            app.printer.note(f"The node stays (process {started.node.pid}). To stop it: mycoswarm down")
        else:
            app.printer.clear_status()
            started.end()


def _start(app: "App", *, keep: bool) -> daemon.Started:
    app.printer.note(
        "No node runs on this machine; starting one that stays."
        if keep
        else "No node runs on this machine; starting one for this command. (To keep one: mycoswarm up)"
    )
    flags = ["--private", "--keep"] if keep else ["--private"]
    app.printer.status("starting the node …")
    try:
        return daemon.start(app.paths, flags, tied=not keep)
    finally:
        app.printer.clear_status()


def has_model(available: Models) -> bool:
    """Has the swarm any model that answers, reachable now or not?"""
    return any(place.offer.abilities.chat for model in available.models for place in model.places)


def ensure_model(app: "App", client: Client, wanted: str, *, pull: bool) -> None:
    """Where the swarm has no model at all, fetch the starter model, if the person (or `--pull`) says so.

    Raises:
        CannotServe: there is none, and it is not to be fetched or nobody can be asked.
    """
    available = client.models()
    if has_model(available):
        return
    entry = next((entry for entry in available.catalog if entry.name == wanted), None) or render.starter(available)
    if not pull:
        hint = f"fetch one: mycoswarm pull {entry.name}"
        if not app.printer.can_ask:
            raise CannotServe("the swarm has no model yet", hint + ", or give --pull")
        app.printer.note(f"The swarm has no model yet. {offer(entry)}", style="")
        if not app.printer.confirm("Fetch it now?", default=True):
            raise CannotServe("without a model nothing can answer", hint)
    fetch(app, client, entry.name)


def offer(entry: CatalogEntry) -> str:
    """A model of the catalogue in a sentence: name, size, licence."""
    facts = [
        entry.summary,
        f"{words.size(entry.download)} to fetch, {words.size(entry.size)} on disk" if entry.download else "",
        f"licence {entry.licence}" if entry.licence else "",
    ]
    return f"{entry.name}: {'; '.join(fact for fact in facts if fact)}".removesuffix(": ") + "."


def fetch(app: "App", client: Client, name: str, node_name: str = "") -> None:
    """Pull `name` with its progress shown. Ctrl-C stops it; what has come stays for the next time."""
    try:
        with app.printer.progress() as view, client.pull(PullBody(name, node_name)) as steps:
            for step in steps:
                view.show(step)
    except KeyboardInterrupt:
        app.printer.note(f"Stopped; what has come so far is kept. To go on: mycoswarm pull {name}")
        raise
    app.printer.note(f"{name} is ready.")
