"""What every verb gets: the global options, the printer, the paths, the node's client."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mycoswarm.cli.printer import Printer
    from mycoswarm.client.http import Client
    from mycoswarm.core.node import SwarmInfo
    from mycoswarm.core.paths import Paths

BROKEN_PIPE = 141
"""The exit code of a program that a closed pipe ended (128 + SIGPIPE), as everyone else in that pipe has it."""


class App:
    """One run of the command line; click carries it as the context's object."""

    def __init__(self, printer: "Printer | None" = None) -> None:
        if printer is not None:
            self.printer = printer

    @cached_property
    def printer(self) -> "Printer":
        from mycoswarm.cli.printer import Printer

        return Printer()

    @cached_property
    def paths(self) -> "Paths":
        from mycoswarm.core.paths import resolve

        return resolve()

    def client(self) -> "Client":
        """The running node. Raises DaemonUnreachable."""
        from mycoswarm.client.daemon import connect

        return connect(self.paths)


pass_app = click.make_pass_decorator(App)


def swarm_of(client: "Client") -> "SwarmInfo":
    """The swarm that this machine belongs to. Raises Refused."""
    from mycoswarm.core.errors import Refused

    swarm = client.node().swarm
    if swarm is None:
        raise Refused("this machine is in no swarm", "found one: mycoswarm invite")
    return swarm


def _set(attribute: str) -> "Callable[[click.Context, click.Parameter, bool], bool]":
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
        if value:
            setattr(context.ensure_object(App).printer, attribute, True)
        return value

    return callback


def global_options() -> list[click.Option]:
    """Options that stand before or after the verb."""
    return [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set("quiet"), help="Only data and errors."
        ),
        click.Option(
            ["--no-input"], is_flag=True, expose_value=False, callback=_set("no_input"), help="Never ask anything."
        ),
    ]


class Verb(click.Command):
    """A verb: takes the global options too, and ends quietly where its reader has gone away."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.params += global_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as usage:
            # Click's parser does not say in which verb an option had no value; the hint names its help.
            usage.ctx = usage.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes stdout once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(BROKEN_PIPE) from None
        return result


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, for every verb that reads."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, a stable contract.")(function)


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Sequence[CompletionItem]":
    """Model names of the swarm for a shell's completion; nothing where no node runs."""
    return _complete(incomplete, lambda client: [model.name for model in client.models().models])


def complete_nodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> "Sequence[CompletionItem]":
    """Node names of the swarm for a shell's completion."""
    return _complete(incomplete, lambda client: [view.name for view in client.nodes().nodes])


def _complete(incomplete: str, names: "Callable[[Client], list[str]]") -> "Sequence[CompletionItem]":
    from click.shell_completion import CompletionItem

    from mycoswarm.core.errors import MycoError

    try:
        found = names(App().client())
    except MycoError:
        # A shell shows whatever a completion prints; no names is the right answer to "no node runs".
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
