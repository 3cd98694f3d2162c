"""The recovery phrase: twelve words that stand for a key, the most senior one of a swarm.

The phrase is shown from the founding until another machine has joined, and is kept nowhere then: the roster holds the
public key alone. Twelve words
of `words` carry 120 bits, which nobody guesses; stretching them besides makes a phrase of which most words were seen
cost more to complete than it is worth.

Rules of this file: the key is a function of the words' text, not of their places in the list, so that the list may
grow; it does not matter in which case and with what between them the words are typed.
"""

import difflib
import hashlib
import re
import secrets

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.core.ids import NodeId
from mycoswarm.fabric.identity import SIGNING, node_id_of
from mycoswarm.fabric.words import WORDS

LENGTH = 12
"""Words of a phrase."""
_COST, _BLOCK, _LANES = 2**15, 8, 1
"""Of scrypt: 32 MiB and some 0.1 s for each try."""
_SALT = b"mycoswarm recovery phrase 1"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group."""
_KNOWN = frozenset(WORDS)
_HINT = f"it is the {LENGTH} words that were shown when the swarm was founded"


class RecoveryKey(msgspec.Struct, frozen=True):
    """id: under which it signs. public: SubjectPublicKeyInfo, DER, as `Founded` holds it."""

    id: NodeId
    public: bytes
    key: ec.EllipticCurvePrivateKey

    def sign(self, data: bytes) -> bytes:
        """ECDSA over SHA-256, DER."""
        return self.key.sign(data, SIGNING)


def new_phrase() -> str:
    """A phrase that nobody had before."""
    return " ".join(secrets.choice(WORDS) for _ in range(LENGTH))


def check_phrase(typed: str) -> str:
    """The phrase that somebody typed, as it was shown. Raises InvalidRequest, naming the word that is none."""
    words = re.findall(r"[^\s\d.,;:_-]+", typed[:1000].lower())
    for word in words[: 2 * LENGTH]:
        if word not in _KNOWN:
            near = difflib.get_close_matches(word, WORDS, 2)
            raise InvalidRequest(
                f"`{word[:30]}` is not a word of any recovery phrase",
                "did you mean " + " or ".join(f"`{one}`" for one in near) + "?" if near else _HINT,
            )
    if len(words) != LENGTH:
        raise InvalidRequest(f"a recovery phrase has {LENGTH} words, these are {len(words)}", _HINT)
    return " ".join(words)


def key_of(phrase: str) -> RecoveryKey:
    """The key that a phrase stands for. Takes about 0.1 s of processor: not in the event loop.

    Raises:
        InvalidRequest: no phrase could look so.
    """
    stretched = hashlib.scrypt(
        check_phrase(phrase).encode(),
        salt=_SALT,
        n=_COST,
        r=_BLOCK,
        p=_LANES,
        maxmem=2 * 128 * _COST * _BLOCK,
        # 128 bits more than the group has, so that no value is likelier than another.
        dklen=48,
    )
    key = ec.derive_private_key(int.from_bytes(stretched) % (_ORDER - 1) + 1, ec.SECP256R1())
    public = key.public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return RecoveryKey(node_id_of(public), spki, key)
