"""`mycoswarm keys`: API keys for programs on other machines."""

from typing import TYPE_CHECKING, cast

import click

from mycoswarm.cli.app import App, Verb, global_options, json_option, pass_app
from mycoswarm.cli.durations import Duration

if TYPE_CHECKING:
    from mycoswarm.core.access import Scope

DAY = 86400.0


class _Scopes(click.ParamType):
    """Scopes with commas between them."""

    name = "scopes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> "tuple[Scope, ...]":
        from typing import get_args

        from mycoswarm.core.access import Scope

        if isinstance(value, tuple):
            return cast("tuple[Scope, ...]", value)
        given = [part.strip() for part in str(value).split(",") if part.strip()]
        known = get_args(Scope)
        for one in given:
            if one not in known:
                self.fail(f"`{one}` is no scope: {', '.join(known)}", param, ctx)
        if not given:
            self.fail(f"name some of {', '.join(known)}", param, ctx)
        return cast("tuple[Scope, ...]", tuple(given))


@click.group(params=global_options())
def keys() -> None:
    """Show, make or remove API keys.

    Programs and people on other machines need one to use this node; they reach it where it runs with `listen = lan`.
    """


@keys.command("list", cls=Verb)
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the keys, never their secrets. JSON: moments in seconds since 1970."""
    from mycoswarm.cli import render_access

    view = app.client().keys()
    if as_json:
        app.printer.json(view)
        return
    app.printer.table(render_access.keys(view))
    if not view.keys:
        app.printer.note("There is no key. Make one: mycoswarm keys add NAME")


@keys.command(cls=Verb)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=_Scopes(),
    default="inference,read",
    show_default=True,
    metavar="SCOPE,…",
    help="inference: ask models; read: lists and health; admin: everything.",
)
@click.option("--profile", default="me", show_default=True, help="Whose conversations and documents it sees.")
@click.option("--rate", type=click.IntRange(0), default=0, metavar="N", help="Requests a minute; 0: no limit.")
@click.option("--concurrent", type=click.IntRange(0), default=0, metavar="N", help="Answers at a time; 0: no limit.")
@click.option(
    "--expires", type=Duration(60.0, 3650 * DAY), default=None, metavar="TIME", help="When it ends: 30d, 12h."
)
@json_option
@pass_app
def add(
    app: App,
    name: str,
    scopes: "tuple[Scope, ...]",
    profile: str,
    rate: int,
    concurrent: int,
    expires: float | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, this once. NAME says who will use it."""
    from mycoswarm.cli import render_access
    from mycoswarm.core.access import KeyBody

    client = app.client()
    view = client.add_key(KeyBody(name, scopes, profile, expires or 0.0, rate, concurrent))
    if as_json:
        app.printer.json(view)
        return
    app.printer.line(view.secret)
    for note in render_access.made(view, client.node()):
        app.printer.note(note)


@keys.command("remove", cls=Verb)
@click.argument("key")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def remove_(app: App, key: str, yes: bool, as_json: bool) -> None:
    """Take a key out of force at once, by its name or id; answers under way with it break off."""
    from mycoswarm.cli import words
    from mycoswarm.core.errors import Refused

    if not yes:
        if not app.printer.can_ask:
            raise Refused(f"removing the key {key} needs a yes", f"mycoswarm keys remove {key} --yes")
        if not app.printer.confirm(f"Remove the key {key}? Whoever uses it is shut out.", default=False):
            app.printer.note("Nothing was removed.")
            return
    view = app.client().remove_key(key)
    if as_json:
        app.printer.json(view)
        return
    broken = f"; {words.count(view.broken, 'answer')} under way broke off" if view.broken else ""
    app.printer.line(f"The key {view.key.name} ({view.key.id}) is removed{broken}.")
