"""`mycoswarm completion`: the script that teaches a shell our verbs, options and names."""

import click

from mycoswarm.cli.app import App, Verb, pass_app


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_app
def completion(app: App, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  mycoswarm completion bash >> ~/.bash_completion
    zsh:   mycoswarm completion zsh > ~/.zfunc/_mycoswarm
    fish:  mycoswarm completion fish > ~/.config/fish/completions/mycoswarm.fish
    """
    from click.shell_completion import get_completion_class

    from mycoswarm.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    app.printer.line(kind(cli, {}, "mycoswarm", "_MYCOSWARM_COMPLETE").source())
