import pytest

from mycoswarm.fabric.reach import Reach


@pytest.mark.parametrize(
    "address", ["192.168.1.7:6927", "127.0.0.1:1", "[fd00::7]:6927", "[::ffff:10.0.0.7]:6927", "[fe80::1%eth0]:1"]
)
def test_the_local_network_may_be_dialled(address: str) -> None:
    assert Reach().allows(address)
    assert not Reach().is_typed(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8:6927",
        "[2001:db8::7]:6927",
        "100.64.0.7:6927",
        "miu.local:6927",
        "10.0.0.7.example:1",
        "[fe80::1]:1",
        "",
    ],
)
def test_anything_else_only_where_the_owner_typed_it(address: str) -> None:
    reach = Reach()
    assert not reach.allows(address)
    reach.typed(address)
    assert reach.allows(address)
    assert not reach.allows(address + "1")
