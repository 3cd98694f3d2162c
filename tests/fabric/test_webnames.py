import pytest

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeView, PeerState
from mycoswarm.fabric.webnames import Asker, granted, wanted

ME, BOA, MIU = NodeId("me"), NodeId("boa-id"), NodeId("miu-id")


def test_a_node_is_known_by_its_names_and_local_addresses() -> None:
    names = wanted(
        "Miu 3090!", "tower.fritz.box", ["192.168.1.3", "fe80::1%eth0", "2003::1", "192.168.1.3", "100.64.0.1"]
    )
    assert names == ("localhost", "miu-3090.local", "tower.local", "127.0.0.1", "192.168.1.3", "::1", "fe80::1")
    assert wanted("miu", "miu.home.arpa", [])[:3] == ("localhost", "miu.local", "miu.home.arpa")


@pytest.mark.parametrize("name", ["", "---", "日本", "."])
def test_a_name_that_dns_cannot_have_becomes_one_that_it_can(name: str) -> None:
    assert wanted(name, name, [])[:2] == ("localhost", "node.local")


def test_the_order_of_addresses_changes_nothing() -> None:
    assert wanted("a", "a", ["10.0.0.2", "10.0.0.1"]) == wanted("a", "a", ["10.0.0.1", "10.0.0.2"])


def view(node: NodeId, name: str, *addresses: str, state: PeerState = "up") -> NodeView:
    return NodeView(node, name, state, addresses=addresses)


NODES = (
    view(ME, "naru", "10.0.0.1:6927", "172.17.0.1:6927", state="self"),
    view(BOA, "boa", "10.0.0.2:6927", "[fd00::2]:6927", "[fe80::2%eth0]:6927"),
    view(MIU, "miu", "10.0.0.3:6927", state="down"),
)


ADMITTED = {ME: "naru", BOA: "boa", MIU: "miu"}


def test_nobody_gets_what_another_machine_is_known_by() -> None:
    boa = Asker(BOA, "10.0.0.2")
    asked = ("localhost", "127.0.0.1", "boa.local", "desk.local", "10.0.0.2", "10.0.0.9", "fd00::2", "fe80::2")
    assert granted(asked, boa, NODES, ADMITTED) == asked
    stolen = ("miu.local", "naru.local", "10.0.0.3", "10.0.0.1", "172.17.0.1", "example.com", "8.8.8.8")
    assert granted(("boa.local", *stolen), boa, NODES, ADMITTED) == ("boa.local",)
    assert granted(("fd00::2", "fe80::2"), Asker(MIU, "10.0.0.3"), NODES, ADMITTED) == ()


def test_what_a_member_says_of_itself_does_not_make_it_another() -> None:
    thief = view(NodeId("thief"), "miu", "10.0.0.3:6927", "10.0.0.66:6927")
    nodes, admitted = (*NODES, thief), {**ADMITTED, NodeId("thief"): "lamp"}
    asked = ("miu.local", "lamp.local", "10.0.0.3", "10.0.0.66")
    assert granted(asked, Asker(NodeId("thief"), "10.0.0.66"), nodes, admitted) == ("lamp.local", "10.0.0.66")
    mine = ("miu.local", "10.0.0.3")
    assert granted(mine, Asker(MIU, "::ffff:10.0.0.3"), nodes, admitted) == mine, "nor does it take it from him"


def test_a_machine_that_was_renamed_gets_its_new_name_and_keeps_its_old_one_to_itself() -> None:
    nodes = (view(ME, "naru", state="self"), view(BOA, "desk"), view(MIU, "miu"))
    assert granted(("boa.local", "desk.local"), Asker(BOA, ""), nodes, ADMITTED) == ("boa.local", "desk.local")
    assert granted(("boa.local", "desk.local"), Asker(MIU, ""), nodes, ADMITTED) == ()


def test_an_address_that_another_one_had_before_is_whose_it_is_now() -> None:
    assert granted(("10.0.0.3",), Asker(BOA, "10.0.0.3"), NODES, ADMITTED) == ("10.0.0.3",)


def test_a_name_under_which_two_were_let_in_is_either_s() -> None:
    twin = view(NodeId("other"), "boa", "10.0.0.8:6927")
    nodes, admitted = (*NODES, twin), {**ADMITTED, NodeId("other"): "boa"}
    assert granted(("boa.local", "10.0.0.8"), Asker(BOA, "10.0.0.2"), nodes, admitted) == ("boa.local",)


def test_what_a_removed_machine_was_known_by_is_free_again() -> None:
    gone = view(NodeId("gone"), "old", "10.0.0.8:6927", state="removed")
    asked = ("old.local", "10.0.0.8")
    assert granted(asked, Asker(BOA, "10.0.0.2"), (*NODES, gone), ADMITTED) == asked
