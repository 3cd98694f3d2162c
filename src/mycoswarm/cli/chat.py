"""`mycoswarm chat`: talk with a model of the swarm."""

import click

from mycoswarm.cli.app import App, Verb, complete_models, complete_nodes, pass_app


@click.command(cls=Verb)
@click.argument("words", nargs=-1, metavar="[MODEL] [QUESTION]", shell_complete=complete_models)
@click.option(
    "-m", "--model", default=None, help="Model, or MODEL@NODE. [default: auto]", shell_complete=complete_models
)
@click.option("--node", default=None, help="The node that shall answer.", shell_complete=complete_nodes)
@click.option("--pull", is_flag=True, help="Fetch the starter model without asking where the swarm has none.")
@click.option("--keep", is_flag=True, help="Keep the node that had to be started for this.")
@pass_app
def chat(app: App, words: tuple[str, ...], model: str | None, node: str | None, pull: bool, keep: bool) -> None:
    """Talk with a model of the swarm.

    With a QUESTION, or with text on standard input, it answers once and ends. The first word is taken for the MODEL
    where it is written like one (name:tag, name@node) or is the name of one; otherwise the words are the question.
    After -m all words are the question.

    In the conversation: Alt-Enter begins a new line, Ctrl-C stops the answer, Ctrl-D leaves, /help shows the rest.
    """
    from mycoswarm.cli import question as reading
    from mycoswarm.cli import session, speaking
    from mycoswarm.cli.conversation import AUTO, Conversation, split_arguments

    text = reading.piped(app.printer)
    with session.node(app, keep=keep) as client:
        asked = " ".join(words)
        if model is None and words:
            model, asked = split_arguments(words, [found.name for found in client.models().models])
        asked = reading.join(asked, text)
        talk = Conversation(model or AUTO, node)
        if not asked and not app.printer.listens:
            raise click.UsageError('there is no question and no terminal; try: mycoswarm ask "why is the sky blue?"')
        session.ensure_model(app, client, talk.model, pull=pull)
        if asked:
            answer = speaking.speak(app.printer, client, talk.request(asked))
            speaking.finish(app.printer, answer)
            return
        from mycoswarm.cli.repl import Repl

        Repl(app, client, talk).run()
