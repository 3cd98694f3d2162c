"""`mycoswarm admit`: let in a machine that asks, after comparing words."""

import difflib
from typing import TYPE_CHECKING

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycoswarm.client.http import Client
    from mycoswarm.core.views import Waiting


@click.command(cls=Verb)
@click.argument("node", default="")
@click.option("--words", "typed", default="", metavar="WORDS", help="The four that NODE shows; then nothing is asked.")
@json_option
@pass_app
def admit(app: App, node: str, typed: str, as_json: bool) -> None:
    """Let in a machine that asks (`mycoswarm join` there): both screens must show the same four words.

    Without NODE it lists who asks; on a terminal, one that asks alone is dealt with at once.
    """
    from mycoswarm.cli import render_swarm
    from mycoswarm.core.errors import Refused

    printer = app.printer
    client = app.client()
    waiting = client.waiting()
    if not waiting.waiting and not as_json:
        _must_be_keeper(client)
    if not node and (as_json or len(waiting.waiting) != 1 or not (printer.can_ask or typed)):
        if as_json:
            printer.json(waiting)
        elif waiting.waiting:
            printer.table(render_swarm.waiting(waiting))
            printer.note("Let one in: mycoswarm admit NAME", style="")
        else:
            printer.note("Nobody asks to be let in. On the new machine: mycoswarm join", style="")
        return
    asking = _named(waiting.waiting, node) if node else waiting.waiting[0]
    if typed:
        if typed.casefold().split() != list(asking.words):
            raise Refused(
                f"those are not the words of {asking.name}'s request, so it was not let in",
                "if that is what its screen shows, somebody sits in between: let nobody in here now",
            )
        same = True
    elif printer.can_ask:
        beside = printer.beside()
        for text, style in render_swarm.asking(asking):
            beside.line(text, style)
        same = printer.confirm(f"Does {asking.name} show the same four words?", default=False)
    else:
        raise Refused(
            f"letting {asking.name} in needs the words that it shows",
            f'mycoswarm admit {node or asking.run} --words "…"',
        )
    view = client.admit(asking.run, same=same)
    if as_json:
        printer.json(view)
    elif view.admitted:
        printer.line(f"{view.name} is let in; it is a member as soon as its own side has said yes too.", "good")
    else:
        printer.line(f"{view.name} was turned away.")
        printer.note("If it is yours, ask again there: mycoswarm join. Different words twice: use a code instead.")


def _must_be_keeper(client: "Client") -> None:
    """Elsewhere nobody asks, and waiting for it would be in vain. Raises Refused, naming who is asked."""
    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    here = client.node()
    if here.swarm is None:
        raise Refused("this machine is in no swarm", "found one: mycoswarm invite")
    if here.view.id not in here.swarm.keepers:
        keepers = [words.node_name(one) for one in client.nodes().nodes if one.id in here.swarm.keepers]
        raise Refused(
            f"only a keeper of “{here.swarm.name}” is asked to let machines in, and this machine is none",
            f"run it on {' or '.join(keepers)}" if keepers else "to make it one: mycoswarm keeper recover",
        )


def _named(waiting: "Sequence[Waiting]", asked: str) -> "Waiting":
    """By name, or by the beginning of its run."""
    from mycoswarm.core.errors import InvalidRequest, NotFound

    found = [one for one in waiting if one.name.casefold() == asked.casefold()]
    found = found or [one for one in waiting if one.run.startswith(asked)]
    if not found:
        near = difflib.get_close_matches(asked, [one.name for one in waiting], 1)
        raise NotFound(
            f"no machine `{asked}` asks to be let in",
            f"did you mean `{near[0]}`?" if near else "mycoswarm admit lists those that do",
        )
    if len(found) > 1:
        raise InvalidRequest(
            f"{len(found)} machines that call themselves {asked} ask to be let in",
            "name one by its run: " + ", ".join(one.run for one in found),
        )
    return found[0]
