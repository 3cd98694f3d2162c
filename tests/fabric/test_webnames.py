import pytest

from mycoswarm.core.ids import NodeId
from mycoswarm.core.node import NodeView, PeerState
from mycoswarm.fabric.webnames import granted, wanted

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


def test_nobody_gets_what_another_machine_is_known_by() -> None:
    asked = ("localhost", "127.0.0.1", "boa.local", "desk.local", "10.0.0.2", "10.0.0.9", "fd00::2", "fe80::2")
    assert granted(asked, BOA, NODES) == asked
    stolen = ("miu.local", "naru.local", "10.0.0.3", "10.0.0.1", "172.17.0.1", "example.com", "8.8.8.8")
    assert granted(("boa.local", *stolen), BOA, NODES) == ("boa.local",)
    assert granted(("fd00::2", "fe80::2"), MIU, NODES) == ()


def test_a_name_that_two_bear_is_either_s() -> None:
    twin = view(NodeId("other"), "boa", "10.0.0.8:6927")
    assert granted(("boa.local", "10.0.0.8"), BOA, (*NODES, twin)) == ("boa.local",)


def test_what_a_removed_machine_was_known_by_is_free_again() -> None:
    gone = view(NodeId("gone"), "old", "10.0.0.8:6927", state="removed")
    assert granted(("old.local", "10.0.0.8"), BOA, (*NODES, gone)) == ("old.local", "10.0.0.8")
