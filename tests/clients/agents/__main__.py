"""[io] `./dev clients`: drive the agents and print a table; exit 1 if one failed."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.clients.agents.drive import Result, Run, drive, free_directory
from tests.clients.agents.install import CannotInstall, install
from tests.clients.agents.programs import FIRST_PORT, PROGRAMS, SCRIPTED, Program
from tests.clients.agents.shapes import Shapes, shape
from tests.clients.two_nodes import swarm
from tests.swarm.lab import missing

REQUESTS = Path(__file__).parent / "requests"


def main(arguments: list[str]) -> int:
    """The command line of `./dev clients`."""
    parser = argparse.ArgumentParser(prog="./dev clients", description="Drive other people's agents against a swarm.")
    parser.add_argument("name", nargs="*", help="; ".join(program.name for program in PROGRAMS))
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave homes, output and wire traces there")
    parser.add_argument("--record", action="store_true", help="write the shapes of their first requests anew")
    asked = parser.parse_args(arguments)
    wanted = {_plain(name) for name in asked.name}
    programs = tuple(program for program in PROGRAMS if not wanted or _plain(program.name) in wanted)
    if unknown := wanted - {_plain(program.name) for program in programs}:
        parser.error(f"there is no client {', '.join(unknown)}; known: {', '.join(one.name for one in PROGRAMS)}")
    if problem := missing():
        print(f"error: {problem}\nhint: the agents run in network namespaces without internet", file=sys.stderr)
        return 1
    try:
        install(programs)
    except CannotInstall as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="clients-") as temporary:
        base = (asked.keep or Path(temporary)).absolute()
        runs = _drive_all(programs, base)
    results = [run.result for run in runs]
    if asked.record:
        for run in runs:
            _record(run)
    if asked.json:
        print(msgspec.json.format(msgspec.json.encode(results)).decode())
    else:
        print(table(results))
    for run in runs:
        if not run.result.ok:
            print(f"\n{run.result.client}: {run.result.problem}\n{run.output[-3000:]}", file=sys.stderr)
    return 0 if all(result.ok for result in results) else 1


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "")


def _drive_all(programs: Sequence[Program], base: Path) -> list[Run]:
    runs: list[Run] = []
    with swarm(base / "swarm", SCRIPTED, ("--token-ms", "2")) as lab:
        for number, program in enumerate(programs):
            print(f"{program.name} …", file=sys.stderr)
            run = drive(lab["boa"], program, free_directory(base, program), FIRST_PORT + number)
            (run.wire.parent / "output.txt").write_text(run.output)
            runs.append(run)
    return runs


def _record(run: Run) -> None:
    """Replace the fixture of this client by what it sent now."""
    sent = tuple(shape(one.method, one.target, one.headers, one.body) for one in run.sent)
    made = Shapes(run.result.client, run.result.version, sent)
    file = REQUESTS / f"{run.result.client.lower().replace(' ', '-')}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")


def table(results: Sequence[Result]) -> str:
    """One line a client, as docs/clients.md has it."""
    rows = [("client", "version", "endpoint", "result", "seconds", "requests", "first request")]
    rows += [
        (
            one.client,
            one.version,
            one.endpoint,
            "ok" if one.ok else one.problem,
            f"{one.seconds:.1f}",
            str(one.requests),
            f"{one.first / 1000:.1f} kB",
        )
        for one in results
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
