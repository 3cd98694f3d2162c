"""Several nodes, their keepers and their web certificates, on a network inside this process."""

import base64
import datetime as dt
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.errors import DiskFull, Fixable, InvalidRequest, MycoError, PeerLost, Refused
from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.core.node import NodeView, SwarmInfo
from mycoswarm.fabric import webca
from mycoswarm.fabric.peer_app import PeerRequest
from mycoswarm.fabric.webca import Authority
from mycoswarm.fabric.webcerts import (
    FOLLOW_EVERY,
    RETRY_FIRST,
    RETRY_LATE,
    SHARE_EVERY,
    SHARE_PATH,
    SIGN_PATH,
    TRUSTED_PATH,
    Surroundings,
    WebCertificates,
)
from mycoswarm.fabric.webstore import Shown, WebStore
from mycoswarm.testing.loopback_network import LoopbackNetwork
from mycoswarm.testing.virtual_clock import VirtualClock

DAY = 86400.0


class House:
    """A swarm whose keepers and losses are set by hand. Members have 10.0.0.1, 10.0.0.2, … in their order."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.directory = directory
        self.clock = VirtualClock()
        self.network = LoopbackNetwork()
        self.names = names
        self.keepers: tuple[str, ...] = names[:1]
        self.members: set[str] = set(names)
        self.lost: set[str] = set()
        self.swarm_id = "s"
        self.nodes: dict[str, WebCertificates] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> WebCertificates:
        """The node's process starts, or starts again."""
        store = WebStore(self.directory / name)
        handlers: dict[tuple[str, str], object] = {}
        transport = self.network.add(NodeId(name), handlers)  # pyright: ignore[reportArgumentType]
        around = Surroundings(
            NodeId(name), name, lambda: self.swarm(name), lambda: self.seen(name), self.admitted, transport
        )
        node = self.nodes[name] = WebCertificates(store, around, self.clock)
        handlers |= node.handlers()
        return node

    def swarm(self, name: str) -> SwarmInfo | None:
        if name not in self.members:
            return None
        keepers = tuple(NodeId(keeper) for keeper in self.keepers)
        return SwarmInfo(SwarmId(self.swarm_id), "home", len(self.members), keepers, True)

    def admitted(self) -> dict[NodeId, str]:
        return {NodeId(name): name for name in self.members}

    def seen(self, name: str) -> tuple[NodeView, ...]:
        me = NodeView(NodeId(name), name, "self", addresses=(self.address(name),))
        others = (
            NodeView(NodeId(one), one, "down" if one in self.lost else "up", addresses=(self.address(one),))
            for one in self.names
            if one != name and one in self.members and name in self.members
        )
        return (me, *others)

    def address(self, name: str) -> str:
        return f"10.0.0.{self.names.index(name) + 1}:6927"

    def lose(self, name: str) -> None:
        self.lost.add(name)
        self.network.lose(NodeId(name))

    def heal(self, name: str) -> None:
        self.lost.discard(name)
        self.network.heal(NodeId(name))

    async def look(self, *names: str) -> None:
        for name in names or self.names:
            await self.nodes[name].step()

    async def shown(self, name: str, *extra: str) -> Shown:
        """The certificate that this node has after it wanted one for its own name and address, and `extra`."""
        # It does not ask again right after it was given one.
        self.clock.advance(RETRY_FIRST)
        self.nodes[name].want((f"{name}.local", self.address(name).partition(":")[0], *extra))
        await self.nodes[name].step()
        shown = self.nodes[name].shown
        assert shown is not None, self.nodes[name].problem
        return shown


async def test_a_node_on_its_own_has_a_ca_of_its_own(tmp_path: Path) -> None:
    house = House(tmp_path, "miu")
    house.members.clear()
    await house.look()
    assert not list(tmp_path.rglob("web*")), "nobody needs one yet"
    shown = await house.shown("miu")
    assert webca.names_of(shown.certificate) == ("miu.local", "10.0.0.1")
    assert await house.nodes["miu"].authority() == shown.authority
    again = house.start("miu")
    assert again.shown == shown
    assert await house.shown("miu") == shown, "a restart changes nothing"


async def test_the_founder_s_ca_is_the_swarm_s_and_members_are_certified_by_it(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    house.members.clear()
    alone = await house.shown("miu")
    house.members |= {"miu", "boa"}
    await house.look()
    assert await house.shown("miu") == alone, "who trusted it need not trust another one"
    theirs = await house.shown("boa")
    assert theirs.authority == alone.authority
    assert webca.names_of(theirs.certificate) == ("boa.local", "10.0.0.2")
    assert not house.nodes["boa"].store.authority_file.exists(), "its key is for keepers only"


async def test_a_member_gives_up_its_own_ca(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    house.members = {"miu"}
    own = await house.shown("boa")
    house.members = {"miu", "boa"}
    house.lose("miu")
    await house.look("boa")
    assert not house.nodes["boa"].store.authority_file.exists()
    assert house.nodes["boa"].shown == own, "it goes on serving until it has another one"
    house.heal("miu")
    house.clock.advance(RETRY_LATE)
    shown = await house.shown("boa")
    assert shown.authority == await house.nodes["miu"].authority() != own.authority


async def test_nobody_is_certified_for_another_s_name_or_address(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    shown = await house.shown("boa", "miu.local", "10.0.0.1", "printer.local")
    assert webca.names_of(shown.certificate) == ("boa.local", "printer.local", "10.0.0.2")
    for _ in range(5):
        house.clock.advance(RETRY_LATE)
        assert await house.shown("boa", "miu.local", "10.0.0.1", "printer.local") == shown, "it does not ask for ever"


async def test_who_is_no_member_keeper_or_sane_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa", "naru")
    await house.shown("miu")
    boa = house.nodes["boa"]._around.transport
    with pytest.raises(Refused, match="for keepers only"):
        await boa.request(NodeId("miu"), "GET", SHARE_PATH)
    with pytest.raises(Refused, match="no keeper"):
        await boa.request(NodeId("naru"), "POST", SIGN_PATH, b"{}")
    for nonsense in (b"", b"{}", b'{"csr":"eA=="}', b"\xff"):
        with pytest.raises(InvalidRequest):
            await boa.request(NodeId("miu"), "POST", SIGN_PATH, nonsense)


async def test_keepers_share_the_ca_before_anything_happens(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "naru", "boa")
    first = await house.shown("boa")
    house.keepers = ("miu", "naru")
    await house.look()
    house.lose("miu")
    shown = await house.shown("boa", "desk.local")
    assert shown.authority == first.authority
    assert shown.certificate != first.certificate


async def test_without_any_keeper_a_member_goes_on_serving(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    shown = await house.shown("boa")
    house.lose("miu")
    house.clock.advance(FOLLOW_EVERY + 1)
    node = house.start("boa")
    assert await house.shown("boa") == shown
    assert not node.problems(), "what it has is good for all that is wanted"
    house.clock.advance(RETRY_LATE)
    assert await house.shown("boa", "desk.local") == shown
    assert "no keeper" in node.problem
    house.clock.advance(280 * DAY)
    await house.look("boa")
    assert not node.problems(), "there are four months left"
    house.clock.advance(90 * DAY)
    await house.look("boa")
    (problem,) = node.problems()
    assert problem.severity == "warning"
    assert "keeper" in problem.action
    house.clock.advance(30 * DAY)
    await house.look("boa")
    assert node.problems()[0].severity == "error"
    house.heal("miu")
    house.clock.advance(RETRY_LATE)
    assert webca.names_of((await house.shown("boa", "desk.local")).certificate)[1] == "desk.local"
    assert not node.problems()


async def test_who_was_never_certified_says_why(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    house.lose("miu")
    node = house.nodes["boa"]
    assert not node.problems(), "nobody wants one"
    node.want(("boa.local",))
    for _ in range(3):
        await node.step()
    assert node.shown is None
    (problem,) = node.problems()
    assert problem.severity == "error"
    assert "no keeper of the swarm is within reach" in problem.message
    with pytest.raises(PeerLost):
        await node.authority()
    house.heal("miu")
    await node.step()
    assert node.shown is None, "it does not ask at every look"
    house.clock.advance(RETRY_FIRST)
    await node.step()
    assert node.shown is not None


async def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    first = {name: await house.shown(name) for name in ("miu", "boa")}
    house.clock.advance(274 * DAY)
    assert {name: await house.shown(name) for name in ("miu", "boa")} == first
    house.clock.advance(3 * DAY)
    for name in ("miu", "boa"):
        shown = await house.shown(name)
        assert shown.certificate != first[name].certificate
        assert shown.authority == first[name].authority, "the CA stays"


async def test_another_address_is_another_certificate_at_once(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    await house.shown("boa")
    shown = await house.shown("boa", "10.0.0.77")
    assert "10.0.0.77" in webca.names_of(shown.certificate)
    assert await house.shown("boa") == shown, "a cable that is pulled makes no new one"


async def test_keepers_that_made_one_each_agree_when_they_meet(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "naru", "boa")
    house.keepers = ("miu", "naru")
    house.lose("naru")
    first = await house.shown("miu")
    house.clock.advance(100.0)
    house.heal("naru")
    house.lose("miu")
    second = await house.shown("naru")
    assert second.authority != first.authority
    assert (await house.shown("boa")).authority == second.authority
    house.heal("miu")
    house.clock.advance(max(SHARE_EVERY, FOLLOW_EVERY))
    await house.look()
    assert {(await house.shown(name)).authority for name in house.names} == {first.authority}, "the older one"


async def test_a_keeper_no_more_destroys_the_key_and_those_who_stay_make_another(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "naru", "boa")
    house.keepers = ("miu", "naru")
    first = await house.shown("miu")
    await house.look()
    await house.look()
    naru = house.nodes["naru"].store
    assert naru.authority_file.exists()
    house.keepers = ("miu",)
    await house.look()
    assert not naru.authority_file.exists()
    second = await house.shown("miu")
    assert second.authority != first.authority, "naru may have kept a copy"
    house.clock.advance(FOLLOW_EVERY)
    assert (await house.shown("boa")).authority == second.authority


async def test_a_node_that_left_or_moved_makes_a_new_one(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    first = await house.shown("miu")
    house.members = {"boa"}
    alone = await house.shown("miu")
    assert alone.authority != first.authority
    house.swarm_id, house.members = "t", {"miu"}
    assert (await house.shown("miu")).authority == alone.authority
    house.swarm_id = "u"
    assert (await house.shown("miu")).authority != alone.authority


async def test_a_damaged_ca_is_reported_and_never_replaced(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    shown = await house.shown("miu")
    file = house.nodes["miu"].store.authority_file
    file.write_bytes(b"{")
    node = house.start("miu")
    assert await house.shown("miu") == shown, "what it has goes on"
    with pytest.raises(Fixable):
        await node.authority()
    with pytest.raises(MycoError):
        await house.nodes["boa"]._around.transport.request(NodeId("miu"), "POST", SIGN_PATH, b"{}")
    assert node.problems()[0].id == "web-ca"
    assert file.read_bytes() == b"{"


async def test_a_keeper_s_nonsense_is_not_served(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    first = await house.shown("boa")

    async def nonsense(_: object) -> bytes:
        return b'{"certificate":"eA==","authority":"eA=="}'

    house.network._handlers[NodeId("miu")][("POST", SIGN_PATH)] = nonsense  # pyright: ignore[reportIndexIssue, reportArgumentType]
    assert await house.shown("boa", "desk.local") == first
    assert "no web certificate" in house.nodes["boa"].problem


async def test_a_keeper_s_ca_without_constraints_is_neither_served_nor_shown(tmp_path: Path) -> None:
    house = House(tmp_path, "miu", "boa")
    first = await house.shown("boa")
    # What a keeper that means ill would make, so that whoever trusts it can be shown any site in the world.
    key = ec.generate_private_key(ec.SECP256R1())
    loose = Authority(swarm="s", certificate=unconstrained(key), key=der(key), made=0)

    async def tell(_: object) -> bytes:
        return loose.certificate

    async def sign(request: PeerRequest) -> bytes:
        csr = msgspec.json.decode(request.body)["csr"]
        return msgspec.json.encode(
            Shown(webca.sign(loose, base64.b64decode(csr), ("boa.local",), house.clock.wall()), loose.certificate)
        )

    handlers = house.network._handlers[NodeId("miu")]
    handlers["GET", TRUSTED_PATH] = tell  # pyright: ignore[reportIndexIssue, reportArgumentType]
    handlers["POST", SIGN_PATH] = sign  # pyright: ignore[reportIndexIssue, reportArgumentType]
    house.clock.advance(FOLLOW_EVERY + 1)
    assert await house.shown("boa", "desk.local") == first
    assert "not constrained" in house.nodes["boa"].problem or "cannot be read" in house.nodes["boa"].problem
    assert await house.nodes["boa"].authority() == first.authority
    node = WebCertificates(WebStore(tmp_path / "new"), house.nodes["boa"]._around, house.clock)
    with pytest.raises(PeerLost):
        await node.authority()


async def test_a_full_disk_ends_neither_the_look_nor_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, "miu", "naru")
    house.keepers = ("miu", "naru")
    shown = await house.shown("miu")
    await house.look()
    store = house.nodes["miu"].store

    def full(*_: object) -> None:
        raise DiskFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "keep_certificate", full)
        assert await house.shown("miu", "desk.local") == shown
        assert house.nodes["miu"].problem == "the disk is full"
        patch.setattr(store, "keep_authority", full)
        house.keepers = ("miu",)
        await house.look("miu")
    house.clock.advance(RETRY_LATE)
    assert (await house.shown("miu", "desk.local")).authority != shown.authority


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def unconstrained(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CA as any other (DER)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "home")])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
