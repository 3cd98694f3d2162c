"""Invitation codes: `7-guitar-lemon` for people, `mycoswarm-join-…` for machines without a screen.

A code carries a slot, by which the joining node finds the inviting one among the announcements, and a secret, which
is never sent. For people the slot is the number in front; for machines it is taken from a hash of the 128-bit secret,
which tells nothing about it. An open invitation is a code that everybody knows, on slot 0.
"""

import base64
import binascii
import difflib
import hashlib
import re
import secrets
from collections.abc import Collection
from typing import Literal

import msgspec

from mycoswarm.core.errors import InvalidRequest
from mycoswarm.fabric.words import WORDS

SPOKEN_LIFE = 600.0
"""Seconds. Long enough to walk to the other machine, too short to be found on a note."""
HEADLESS_LIFE = 24 * 3600.0
"""Seconds. Long enough to write a memory card and put the machine in its place."""
TRIES = 3
"""Wrong tries that end a spoken code: 3 of a million guesses."""
MANY_TRIES = 1000
"""Wrong tries that end a headless or open one. Nobody guesses 128 bits, and what everybody knows need not be guessed;
a node with a stale code must not end a fresh one."""
OPEN_SLOT = 0
"""Announced while an invitation is open to whoever asks."""
MAX_OPEN = 3600.0
"""Seconds for which it may be: somebody must be there to look who comes."""
OPEN_USES = 64
"""Machines that one open invitation lets in: a whole swarm, and not a stranger's thousands."""
MAX_SPOKEN_SLOT = 999
_PREFIX = "mycoswarm-join-"
_KNOWN = frozenset(WORDS)
_HINT = "a code looks like 7-guitar-lemon; `mycoswarm invite` on a member shows one"


Kind = Literal["code", "headless", "open"]


class Code(msgspec.Struct, frozen=True):
    """text: as people pass it on, and the secret at the same time. slot: public."""

    text: str
    slot: int
    kind: Kind = "code"

    @property
    def life(self) -> float:
        """Seconds that it is good for, where nothing else was said."""
        return HEADLESS_LIFE if self.kind == "headless" else SPOKEN_LIFE

    @property
    def tries(self) -> int:
        """Wrong tries that end it."""
        return TRIES if self.kind == "code" else MANY_TRIES

    @property
    def uses(self) -> int:
        """Machines that it lets in."""
        return OPEN_USES if self.kind == "open" else 1


OPEN = Code("open", OPEN_SLOT, "open")
"""The code of every open invitation. `parse` does not take it: nobody types it."""


def new_spoken(taken: Collection[int]) -> Code:
    """A code for people, on the lowest slot that nobody near uses."""
    free = (slot for slot in range(1, MAX_SPOKEN_SLOT + 1) if slot not in taken)
    slot = next(free, secrets.randbelow(MAX_SPOKEN_SLOT) + 1)
    return Code(f"{slot}-{secrets.choice(WORDS)}-{secrets.choice(WORDS)}", slot)


def new_headless() -> Code:
    """A code for MYCOSWARM_JOIN."""
    return _headless(base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower())


def parse(typed: str) -> Code:
    """The code that somebody typed. Raises InvalidRequest, naming the word that is none."""
    text = typed.strip().lower()
    if text.startswith(_PREFIX):
        return _headless(text.removeprefix(_PREFIX))
    parts = re.split(r"[\s\-_.]+", text)
    if len(parts) != 3 or not parts[0].isdecimal() or not parts[0].isascii():
        raise InvalidRequest("this is not an invitation code", _HINT)
    slot = int(parts[0][:6])
    if not 1 <= slot <= MAX_SPOKEN_SLOT:
        raise InvalidRequest(f"an invitation code begins with a number from 1 to {MAX_SPOKEN_SLOT}", _HINT)
    for word in parts[1:]:
        if word not in _KNOWN:
            near = difflib.get_close_matches(word, WORDS, 2)
            raise InvalidRequest(
                f"`{word}` is not a word of any invitation code",
                "did you mean " + " or ".join(f"`{one}`" for one in near) + "?" if near else _HINT,
            )
    return Code(f"{slot}-{parts[1]}-{parts[2]}", slot)


def _headless(encoded: str) -> Code:
    try:
        secret = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8))
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != 16:
        raise InvalidRequest("this headless invitation is damaged", "copy all of it, from `mycoswarm-join-` to the end")
    digest = hashlib.sha256(b"mycoswarm invitation slot\n" + secret).digest()
    return Code(_PREFIX + encoded, MAX_SPOKEN_SLOT + 1 + int.from_bytes(digest[:4]), "headless")
