"""Machines and rosters for simulated swarms: real keys and signatures, but the same for everybody who asks.

Keys come from numbers and signatures from RFC 6979, so that ids, hashes and digests are equal in every run; results are
kept, because the keys of 256 nodes take a second and are never the subject.
"""

import datetime as dt
import functools
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mycoswarm.core.ids import NodeId, SwarmId
from mycoswarm.fabric import roster
from mycoswarm.fabric.identity import node_id_of
from mycoswarm.fabric.membership import Member, MembersChanged
from mycoswarm.fabric.roster import Roster

_SIGNING = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


@dataclass(frozen=True)
class Machine:
    """A node's identity, as `fabric.identity` would have made it. name: n0, n1, …"""

    id: NodeId
    name: str
    certificate: bytes
    key: ec.EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, _SIGNING)


@functools.cache
def machine(number: int) -> Machine:
    """The machine of that number, always the same."""
    secret = int.from_bytes(hashlib.sha256(f"mycoswarm simulated node {number}".encode()).digest(), "big")
    key = ec.derive_private_key(secret >> 1, ec.SECP256R1())
    node = node_id_of(key.public_key())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(number + 1)
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2099, 12, 31, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return Machine(node, f"n{number}", made.public_bytes(serialization.Encoding.DER), key)


@functools.cache
def founded(count: int) -> Roster:
    """The roster of machines 0 to count - 1, founded and admitted by machine 0."""
    founder = machine(0)
    if count == 1:
        swarm = SwarmId(f"{founder.id}-00")
        return roster.found(swarm, "simulated", founder.certificate, founder.name, founder.sign)
    # Not by recursion: 256 machines would need 256 frames.
    held = founded(1)
    for number in range(1, count):
        newcomer = machine(number)
        held = held.admit(newcomer.certificate, newcomer.name, founder.id, founder.sign)
    return held


class Library:
    """What many nodes do with the same rosters, done once: merging, writing, telling membership."""

    def __init__(self) -> None:
        self._merged: dict[tuple[str, str], Roster] = {}
        self._told: dict[str, MembersChanged] = {}
        self._size: dict[str, int] = {}

    def merge(self, mine: Roster, theirs: Roster) -> Roster:
        """As a node does with the bytes of another: read, verified, merged."""
        if mine.digest == theirs.digest:
            return mine
        merged = self._merged.get((mine.digest, theirs.digest))
        if merged is None:
            merged = mine.merge(roster.decode(theirs.encode(), mine))
            self._merged[mine.digest, theirs.digest] = merged
        return merged

    def told(self, held: Roster) -> MembersChanged:
        told = self._told.get(held.digest)
        if told is None:
            members = tuple(Member(one.id, one.name) for one in held.members().values())
            told = self._told[held.digest] = MembersChanged(members, held.removed(), held.digest, held.causes())
        return told

    def size(self, held: Roster) -> int:
        """Bytes that a pull of it carries."""
        size = self._size.get(held.digest)
        if size is None:
            size = self._size[held.digest] = len(held.encode())
        return size
