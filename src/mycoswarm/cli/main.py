"""The entry of `mycoswarm`: finds the verb, runs it, turns every failure into a sentence and an exit code."""

import importlib
from collections.abc import Sequence

import click

from mycoswarm import __version__
from mycoswarm.cli.app import App, global_options

EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

SECTIONS: dict[str, dict[str, str]] = {
    "Talk": {
        "chat": "Talk with a model of the swarm.",
        "ask": "Ask one question, hear one answer.",
    },
    "This node": {
        "up": "Start this node.",
        "down": "Stop this node.",
        "detect": "Show what this machine is and can do.",
        "logs": "Show the node's log.",
    },
    "The swarm": {
        "status": "Show the swarm at a glance.",
        "nodes": "List the machines.",
        "models": "List the models of every machine.",
        "ps": "Show what is loaded and running.",
        "doctor": "Show every known problem with what to do.",
    },
    "Membership": {
        "invite": "Let another machine in.",
        "join": "Enter a swarm.",
        "admit": "Let in a machine that asks.",
        "keeper": "Show or change who may let machines in and out.",
        "remove": "Take a machine out of the swarm for ever.",
        "rotate": "Give this machine a new key.",
        "leave": "Leave the swarm.",
    },
    "Other machines' programs": {
        "keys": "Show, make or remove API keys.",
        "certs": "Show the web CA, or trust it.",
    },
    "Models": {
        "pull": "Fetch a model.",
        "rm": "Delete a model.",
    },
    "Set-up": {
        "config": "Show the settings in force.",
        "completion": "Print the completion script of a shell.",
    },
}
"""Every verb with its summary, so that `--help` loads none of them. The module is `mycoswarm.cli.VERB`."""

VERBS: dict[str, str] = {name: summary for verbs in SECTIONS.values() for name, summary in verbs.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(importlib.import_module(f"mycoswarm.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.NoSuchCommand(args[0], possibilities=list(VERBS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, VERBS))
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in verbs.items()])


@click.group(
    cls=LazyGroup,
    params=global_options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First steps: mycoswarm up, then mycoswarm chat. More about a verb: mycoswarm VERB --help.",
)
@click.version_option(__version__, "-V", "--version", prog_name="mycoswarm", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Your own machines, one private AI: ask on the weakest, hear the strongest."""
    context.ensure_object(App)


def main(arguments: Sequence[str] | None = None, app: App | None = None) -> int:
    """Run one command; the process's exit code. app: where its words go, the process's own streams if None."""
    app = app or App()
    try:
        code = cli.main(arguments, prog_name="mycoswarm", standalone_mode=False, obj=app)
    except click.exceptions.NoArgsIsHelpError as usage:
        click.echo(usage.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as usage:
        app.printer.complain(*_usage(usage))
        return EXIT_USAGE
    except click.ClickException as problem:
        app.printer.complain(_sentence(problem.format_message()))
        return problem.exit_code
    except click.Abort:
        app.printer.clear_status()
        return EXIT_INTERRUPTED
    except Exception as problem:  # the process boundary: whatever a verb did not foresee ends here
        return _failed(app, problem)
    return code if isinstance(code, int) else 0


def _failed(app: App, problem: Exception) -> int:
    from mycoswarm.core.errors import MycoError

    if isinstance(problem, MycoError):
        app.printer.error(problem)
        return problem.exit_code
    from mycoswarm.cli.crash import write_report

    where = write_report(app, problem)
    app.printer.complain(
        f"something went wrong that should not, and this is our bug ({type(problem).__name__}); details are in {where}",
        "`mycoswarm logs` shows what the node said meanwhile",
    )
    return EXIT_BUG


def _usage(usage: click.UsageError) -> tuple[str, str]:
    """Sentence and hint."""
    verb = usage.ctx.command_path if usage.ctx is not None else "mycoswarm"
    match usage:
        case click.NoSuchCommand():
            sentence, near = f"there is no verb `{usage.command_name}`", usage.possibilities
        case click.NoSuchOption():
            sentence, near = f"`{verb}` has no option `{usage.option_name}`", usage.possibilities
        case _:
            return _sentence(usage.format_message()), f"{verb} --help"
    return sentence, f"did you mean `{near[0]}`?" if near else f"{verb} --help"


def _sentence(message: str) -> str:
    text = " ".join(message.split()).removesuffix(".")
    return text[:1].lower() + text[1:]
