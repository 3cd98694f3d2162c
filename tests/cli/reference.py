"""docs/cli.md, made from the commands' own help: `python -m tests.cli.reference` writes it anew."""

from pathlib import Path

import click

from mycoswarm.cli.main import SECTIONS, cli

FILE = Path(__file__).parents[2] / "docs" / "cli.md"

HEAD = """# The command line

Made from `mycoswarm VERB --help` by `python -m tests.cli.reference`; a test fails when it is out of date.

Data goes to stdout; progress, notes, errors and the footer of an answer go to stderr. On a terminal tables leave out
what does not fit; in a pipe they are plain columns, all of them. `--json` is a stable contract. An error is one
sentence and a `hint:`. `NO_COLOR` is honoured; `-q, --quiet` and `--no-input` stand before or after the verb.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed, and you can mend it |
| 2 | the command was mistyped |
| 3 | no node runs on this machine |
| 4 | there is no such model, node or file |
| 5 | refused |
| 6 | no node can serve this now |
| 70 | our bug |
| 130 | interrupted |
| 141 | the reader of the pipe went away |
"""


def reference() -> str:
    """The whole page."""
    settings = {**cli.context_settings, "max_content_width": 100, "terminal_width": 100}
    top = click.Context(cli, info_name="mycoswarm", **settings)
    parts = [HEAD]
    for title, verbs in SECTIONS.items():
        parts.append(f"## {title}\n")
        for verb in verbs:
            command = cli.get_command(top, verb)
            assert command is not None
            parts += _help(command, top, verb)
    return "\n".join(parts)


def _help(command: click.Command, parent: click.Context, name: str) -> list[str]:
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100)
    parts = [f"### {context.command_path}\n", f"```\n{context.get_help()}\n```\n"]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            parts += _help(found, context, child)
    return parts


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
