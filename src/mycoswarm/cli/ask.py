"""`mycoswarm ask`: one question, one answer, streamed as plain text."""

import click

from mycoswarm.cli.app import App, Verb, complete_models, complete_nodes, json_option, pass_app


@click.command(cls=Verb)
@click.argument("question", nargs=-1)
@click.option(
    "-m", "--model", default="auto", show_default=True, help="Model, or MODEL@NODE.", shell_complete=complete_models
)
@click.option("--node", default=None, help="The node that shall answer.", shell_complete=complete_nodes)
@click.option("--system", default=None, help="Instructions that come before the question.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=None, help="Length of the answer at most.")
@click.option("--temperature", type=click.FloatRange(0, 5), default=None, help="0 is the most likely answer.")
@click.option("--seed", type=int, default=None, help="Makes sampling repeatable.")
@click.option("--why", is_flag=True, help="Show why this node was chosen (on stderr).")
@click.option("--pull", is_flag=True, help="Fetch the starter model without asking where the swarm has none.")
@click.option("--keep", is_flag=True, help="Keep the node that had to be started for this.")
@json_option
@pass_app
def ask(
    app: App,
    question: tuple[str, ...],
    model: str,
    node: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    why: bool,
    pull: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Ask one question, hear one answer.

    Standard input is part of the question: `mycoswarm ask "summarise this" < notes.txt`. The answer goes to stdout as
    it comes; node, model and speed go to stderr.
    """
    from mycoswarm.cli import question as reading
    from mycoswarm.cli import session, speaking
    from mycoswarm.core.chat import ChatRequest, Sampling, message

    text = reading.join(" ".join(question), reading.piped(app.printer))
    if not text:
        raise click.UsageError('there is no question; try: mycoswarm ask "why is the sky blue?"')
    messages = (*((message("system", system),) if system else ()), message("user", text))
    request = ChatRequest(
        model=model,
        messages=messages,
        sampling=Sampling(temperature=temperature, seed=seed),
        max_tokens=max_tokens,
        prefer_node=node,
        why=why,
    )
    with session.node(app, keep=keep) as client:
        session.ensure_model(app, client, model, pull=pull)
        answer = speaking.speak(app.printer, client, request, aloud=not as_json)
        if as_json:
            app.printer.json(answer.as_json())
        speaking.finish(app.printer, answer, why=why and not as_json)
