import msgspec
import pytest

from mycoswarm.core.errors import Refused
from mycoswarm.core.hardware import HardwareSummary
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord, NodeView, PeerState
from mycoswarm.telemetry import checks

ME = NodeView(NodeId("me"), "boa", "self", record=NodeRecord(NodeId("me"), "boa", 1, 1, "0.1", warnings=("mine: x",)))
SUMMARY = HardwareSummary("cpu", 4, 4, 8 << 30, 6 << 30, 200_000_000_000)


def _view(state: PeerState, why: str = "", **fields: object) -> NodeView:
    record = NodeRecord(NodeId("abcdefgh2345"), "miu", 1, 1, "0.2", **fields)  # pyright: ignore[reportArgumentType]
    return NodeView(NodeId("abcdefgh2345"), "miu", state, why, record=record)


def test_a_warning_of_the_hardware_keeps_its_own_advice() -> None:
    (told, bare) = checks.machine(["nvidia-smi hangs: is the driver stuck? reboot", "the disk /x does not answer"])
    assert (told.message, told.action) == ("nvidia-smi hangs", "is the driver stuck? reboot")
    assert (bare.message, bare.action) == ("the disk /x does not answer", "`mycoswarm detect` shows what was found")


@pytest.mark.parametrize(
    ("free", "severity"), [(checks.DISK_LOW, None), (checks.DISK_LOW - 1, "warning"), (checks.DISK_OUT - 1, "error")]
)
def test_a_disk_that_runs_full(free: int, severity: str | None) -> None:
    found = checks.disk(msgspec.structs.replace(SUMMARY, disk_free=free))
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    assert checks.disk(None) == ()


def test_a_machine_that_its_code_does_not_let_in() -> None:
    (told,) = checks.headless(Refused("this code has expired"))
    assert (told.severity, "this code has expired" in told.message) == ("error", True)
    assert checks.headless(None) == ()


def test_an_engine_that_cannot_run_is_a_note() -> None:
    assert checks.embedded("") == ()
    (told,) = checks.embedded("the processor has no AVX2")
    assert (told.severity, told.message) == ("note", "the built-in engine does not run here: the processor has no AVX2")


def test_engines_that_were_named_and_are_not_there() -> None:
    here, gone = "http://10.0.0.5:8000", "http://10.0.0.6:8000"
    missing, silent = checks.engines([here, gone], [here], [("vllm", here)])
    assert (missing.id, gone in missing.message) == ("engine-missing", True)
    assert silent.message == f"vllm at {here} answers, but does not say which models it holds"


@pytest.mark.parametrize(
    ("state", "ids"),
    [("up", []), ("left", []), ("removed", []), ("down", ["member-down"]), ("suspect", ["member-suspect"])],
)
def test_members_that_are_away(state: PeerState, ids: list[str]) -> None:
    assert [problem.id for problem in checks.members((ME, _view(state)))] == ids


def test_the_reason_and_the_way_out_are_told() -> None:
    (told,) = checks.members((ME, _view("down", "no beat for 3.2 s")))
    assert told.message == "miu is down: no beat for 3.2 s"
    assert "mycoswarm remove miu" in told.action
    nameless = msgspec.structs.replace(_view("down"), name="", record=None)
    assert checks.members((ME, nameless))[0].message == "abcdefgh is down"


def test_what_others_report_is_shown_under_their_names_and_only_while_they_are_there() -> None:
    warned = _view("up", warnings=("12 MB of disk are free: make room there", "hot"))
    own, bare = checks.theirs((ME, warned))
    assert (own.node_name, own.message, own.action) == ("miu", "12 MB of disk are free", "make room there")
    assert (bare.message, bare.action) == ("hot", "see what is wrong there: mycoswarm doctor on miu")
    assert checks.theirs((ME, msgspec.structs.replace(warned, state="down"))) == ()
