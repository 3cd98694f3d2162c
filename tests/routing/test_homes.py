import msgspec
import pytest

from mycoswarm.core.errors import CannotServe, InvalidRequest, NotFound
from mycoswarm.core.hardware import EngineKind, HardwareSummary
from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeRecord, NodeView, PeerState
from mycoswarm.routing.homes import home, only

GB = 10**9


def node(
    name: str,
    bandwidth: float | None,
    *,
    disk: int = 100 * GB,
    state: PeerState = "up",
    engines: tuple[EngineKind, ...] = ("embedded",),
) -> NodeView:
    ident = NodeId(name * 10)
    hardware = HardwareSummary("cpu", 4, 4, 8 * GB, 6 * GB, disk, bandwidth)
    return NodeView(ident, name, state, record=NodeRecord(ident, name, 1, 1, "0", hardware=hardware, engines=engines))


def test_the_quickest_memory_gets_the_model() -> None:
    assert home(GB, [node("boa", 10e9, state="self"), node("miu", 40e9), node("naru", None)]).name == "miu"


def test_a_wish_is_followed_and_a_slip_is_told() -> None:
    nodes = [node("boa", 10e9), node("miu", 40e9)]
    assert home(GB, nodes, "boa").name == "boa"
    assert home(GB, nodes, nodes[0].id[:8]).name == "boa"
    with pytest.raises(NotFound):
        home(GB, nodes, "nobody")


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (node("miu", 40e9, state="down"), "it is down"),
        (node("miu", 40e9, engines=("ollama",)), "no embedded engine"),
        (node("miu", 40e9, disk=GB), "1000 MB of disk are free, 1200 MB are needed"),
    ],
)
def test_what_rules_a_node_out_is_said(view: NodeView, reason: str) -> None:
    with pytest.raises(CannotServe, match=reason):
        home(GB, [view])


def test_one_machine_is_meant_by_name_or_by_the_beginning_of_its_id() -> None:
    nodes = [node("boa", 1e9), node("miu", 1e9)]
    assert only("BOA", nodes) is nodes[0]
    assert only(nodes[1].id[:8], nodes) is nodes[1]
    assert only(nodes[1].id, nodes) is nodes[1]
    with pytest.raises(NotFound) as caught:
        only("bao", nodes)
    assert caught.value.hint == "did you mean `boa`?"


def test_of_two_with_one_name_none_is_guessed() -> None:
    twins = [node("boa", 1e9), msgspec.structs.replace(node("boa", 1e9), id=NodeId("x" * 30))]
    with pytest.raises(InvalidRequest, match="`boa` may be 2 machines") as caught:
        only("boa", twins)
    assert caught.value.hint == "name one by its id: boaboabo, xxxxxxxx"
    assert only("xxxxxxxx", twins) is twins[1]


def test_the_former_identity_of_a_machine_is_meant_only_where_it_is_named() -> None:
    now = node("boa", 1e9)
    former = msgspec.structs.replace(now, id=NodeId("x" * 30), state="removed")
    assert only("boa", [former, now]) is now
    assert only("xxxxxxxx", [former, now]) is former
