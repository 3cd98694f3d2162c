"""[io] The swarm that other people's programs are driven against: the model on one machine, the program on another.

miu   a node, and the scripted server as its engine
boa   a node without any model
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.swarm.lab import PYTHON, Lab, Machine, eventually

ENGINE_PORT = 9900
ROOT = Path(__file__).parents[2]
NO_ENGINE: Mapping[str, str] = {"MYCOSWARM_EMBEDDED": "no"}


@contextmanager
def swarm(
    directory: Path, models: Sequence[str], options: Sequence[str] = (), more: Mapping[str, str] | None = None
) -> Iterator[Lab]:
    """miu and boa, joined; boa knows of all models. Nothing outside the two can be reached.

    Args:
        models: of the scripted server, NAME=SCRIPT. options: others of its command line.
        more: variables of miu's node.

    What the nodes said is printed when the block fails.
    """
    with Lab(directory, ("miu", "boa")) as lab:
        try:
            _make(lab, models, options, more or {})
            yield lab
        except BaseException:
            for machine in lab:
                print(f"---- {machine.name}\n{machine.log()[-4000:]}", file=sys.stderr)
            raise


def _make(lab: Lab, models: Sequence[str], options: Sequence[str], more: Mapping[str, str]) -> None:
    for machine in lab:
        # An address that nobody answers for would make every attempt to phone home wait for seconds.
        lab.ip("-n", machine.name, "route", "del", "default")
    wanted = [word for model in models for word in ("--model", model)]
    lab["miu"].start(PYTHON, "-m", "mycoswarm.testing.scripted_server", "--port", str(ENGINE_PORT), *wanted, *options)
    lab["miu"].up(env={**NO_ENGINE, "MYCOSWARM_ENGINES": f"127.0.0.1:{ENGINE_PORT}", **more})
    lab["boa"].up(env=NO_ENGINE)
    for machine in lab:
        machine.wait_ready()
    code = lab["miu"].myco("invite", "--quiet").stdout.split()[0]
    joined = lab["boa"].myco("join", code)
    assert joined.returncode == 0, joined.stderr
    names = [model.partition("=")[0] for model in models]

    def known() -> bool:
        listed = lab["boa"].myco("models").stdout
        return all(name in listed for name in names)

    eventually(known, 30, "boa knows of miu's models")


def port(machine: Machine) -> int:
    """Of its user API."""
    found = machine.node_file()
    assert found is not None, f"{machine.name} runs a node"
    return found.port
