"""`mycoswarm doctor`: what is wrong, and what to do."""

import click

from mycoswarm.cli.app import App, Verb, json_option, pass_app


@click.command(cls=Verb)
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> None:
    """Show every known problem with what to do, the worst first.

    Ends with exit code 1 if one of them is an error or a warning; notes are worth knowing and need nothing done.
    """
    from mycoswarm.cli import render_swarm

    client = app.client()
    report = client.health()
    bad = any(problem.severity != "note" for problem in report.problems)
    if as_json:
        app.printer.json(report)
    else:
        if not app.printer.on_terminal:
            app.printer.table(render_swarm.problem_table(report))
        elif report.problems:
            app.printer.facts(render_swarm.problem_facts(report))
        else:
            app.printer.line("No problem is known.", "good")
        app.printer.note(render_swarm.looked_at(client.node(), client.nodes()))
    if bad:
        raise click.exceptions.Exit(1)
