"""`mycoswarm join`: enter a swarm, by a code, by an open invitation, or by comparing words."""

from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app

if TYPE_CHECKING:
    from mycoswarm.client.http import Client
    from mycoswarm.core.node import NearbySwarm
    from mycoswarm.core.views import Comparing, Joined, NodeDetail

_POLL = 0.5


@click.command(cls=Verb)
@click.argument("code", default="")
@click.option("--peer", default="", metavar="HOST[:PORT]", help="Where the inviting machine is, if it is not found.")
@click.option("--swarm", default="", metavar="ID", help="Which one, where several are near and no code says it.")
@click.option("--move", is_flag=True, help="Leave the present swarm for it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before an open swarm is joined.")
@json_option
@pass_app
def join(app: App, code: str, peer: str, swarm: str, move: bool, yes: bool, as_json: bool) -> None:
    """Enter a swarm with a code, the one that `mycoswarm invite` shows on any of its machines.

    Without CODE: by an open invitation (`mycoswarm invite --open`) if there is one near; else this machine asks to be
    let in, both screens show four words, and somebody who sees both says whether they are the same.
    """
    from mycoswarm.cli import render_swarm
    from mycoswarm.core.views import JoinBody

    client = app.client()
    detail = client.node()
    if detail.swarm is not None and not move:
        move = _wants_to_move(app, detail, code)
        if not move:
            app.printer.note("Nothing was changed.")
            return
    opened = "" if code or peer else _open_near(detail, swarm)
    if opened and not yes and not _wants_in(app, detail, opened, move=move):
        app.printer.note("Nothing was changed.")
        return
    if code or opened:
        app.printer.status("looking for the machine that invites …")
        try:
            view = client.join(JoinBody(code, peer, move, opened))
        finally:
            app.printer.clear_status()
    else:
        view = _by_words(app, client, peer, "" if peer else _which(detail, swarm), move)
    if as_json:
        app.printer.json(view)
        return
    app.printer.line(render_swarm.joined(view), "good")
    app.printer.note("Talk: mycoswarm chat. Who is there: mycoswarm nodes", style="")


def _wants_to_move(app: App, detail: "NodeDetail", code: str) -> bool:
    """May this machine leave its swarm for another one? Asks only where nobody else is left behind."""
    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    assert detail.swarm is not None
    again = f"mycoswarm join {code} --move" if code else "mycoswarm join --move"
    others = detail.swarm.members - 1
    if others:
        raise Refused(
            f"this machine belongs to “{detail.swarm.name}”, with {words.count(others, 'other machine')}",
            f"mycoswarm leave first, or both in one: {again}",
        )
    if not app.printer.can_ask:
        raise Refused(f"this machine has a swarm of its own, “{detail.swarm.name}”", f"to give it up: {again}")
    app.printer.note(
        f"This machine founded a swarm of its own, “{detail.swarm.name}”, and is alone in it. "
        "A machine belongs to one swarm: if it moves, that one ends. Models and settings stay.",
        style="",
    )
    return app.printer.confirm("Move over?", default=True)


def _open_near(detail: "NodeDetail", swarm: str) -> str:
    """The id of the one swarm near that lets in whoever asks, "" where there is none. Raises InvalidRequest."""
    from mycoswarm.core.errors import InvalidRequest

    near = [one.swarm for one in detail.nearby if one.open and one.swarm and one.swarm.startswith(swarm)]
    if len(near) > 1:
        raise InvalidRequest(
            f"{len(near)} swarms near let in whoever asks",
            "say which: " + " or ".join(f"--swarm {one[:8]}" for one in near),
        )
    return near[0] if near else ""


def _wants_in(app: App, detail: "NodeDetail", swarm: str, *, move: bool) -> bool:
    """Anybody on the network can open a swarm, and whoever is in it may use this machine: so its owner is asked."""
    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    (near,) = (one for one in detail.nearby if one.swarm == swarm)
    which = f"the open swarm {swarm[:8]} ({words.count(near.nodes, 'machine')} near)"
    if not app.printer.can_ask:
        again = f"mycoswarm join --swarm {swarm[:8]}{' --move' if move else ''} --yes"
        raise Refused(f"joining {which} needs a yes", again)
    question = (
        f"Join {which}? It lets in whoever asks, its machines may use this one, and nothing proves whose it is: "
        "say yes only if you or somebody you trust has just opened it."
    )
    return app.printer.confirm(question, default=False)


def _which(detail: "NodeDetail", swarm: str) -> str:
    """The id of the one swarm that is meant. Raises NotFound, InvalidRequest."""
    from mycoswarm.core.errors import InvalidRequest, NotFound

    near: list[NearbySwarm] = [one for one in detail.nearby if one.swarm and one.swarm.startswith(swarm)]
    if not near:
        raise NotFound(
            f"no swarm “{swarm}” is near" if swarm else "no swarm is near",
            "is a member up on this network? name it, where multicast is blocked: mycoswarm join --peer HOST",
        )
    if len(near) > 1:
        raise InvalidRequest(
            f"{len(near)} swarms are near",
            "join by a code, or say which: " + " or ".join(f"--swarm {one.swarm[:8]}" for one in near),
        )
    return near[0].swarm


def _by_words(app: App, client: "Client", peer: str, swarm: str, move: bool) -> "Joined":
    """Compare, wait, and come back as a member. Raises Refused where it ends otherwise."""
    from mycoswarm.cli import render_swarm
    from mycoswarm.core.errors import Refused
    from mycoswarm.core.views import CompareBody

    printer = app.printer
    if not printer.can_ask:
        raise Refused(
            "joining without a code needs somebody here who compares words",
            "use a code: mycoswarm invite --headless on a member, then mycoswarm join CODE here",
        )
    printer.status("asking to be let in …")
    try:
        asked = client.compare(CompareBody(peer, swarm, move))
    finally:
        printer.clear_status()
    beside = printer.beside()
    for text, style in render_swarm.comparison(asked):
        beside.line(text, style)
    try:
        same = printer.confirm("Does it show the same four words?", default=False)
        state = client.compared(asked.run, same=same)
        if not same:
            raise Refused(
                "the words differ, so this machine was not let in",
                "try once more; if they differ again, somebody sits in between: use a code instead",
            )
        return _outcome(app, client, state)
    except KeyboardInterrupt:
        client.compared(asked.run, same=False)
        raise


def _outcome(app: App, client: "Client", state: "Comparing") -> "Joined":
    """Wait for the other side's yes."""
    import time

    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    try:
        while state.state == "waiting":
            app.printer.status(f"waiting for the yes at {state.keeper} … {words.duration(state.expires_in)} left")
            time.sleep(_POLL)
            state = client.comparing(state.run)
    finally:
        app.printer.clear_status()
    if state.joined is not None:
        return state.joined
    if state.state == "refused":
        raise Refused(
            f"{state.keeper} did not let this machine in" + (f": {state.why}" if state.why else ""),
            "ask again with mycoswarm join, or use a code",
        )
    raise Refused(
        state.why or f"nobody said yes at {state.keeper} in time",
        "ask again with mycoswarm join, and run mycoswarm admit there meanwhile",
    )
