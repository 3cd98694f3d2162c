import re

import pytest

from mycoswarm.access import keys
from mycoswarm.access.keys import MAX_KEYS, PREFIX, Key, make, new_secret
from mycoswarm.core.access import KeyBody, Scope
from mycoswarm.core.errors import InvalidRequest, NotFound, Refused, TokenRequired

NOW = 1_800_000_000.0


def made(name: str = "laptop", *, secret: str = "myco-s", others: tuple[Key, ...] = (), **wanted: object) -> Key:
    return make(KeyBody(name, **wanted), secret, f"id-{name}", NOW, others)  # pyright: ignore[reportArgumentType]


def test_a_secret_says_what_it_is_and_is_not_guessed() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(PREFIX + "[a-z2-7]{52}", secret) for secret in secrets), "256 bits, no separators"


def test_a_key_keeps_a_hash_and_shows_neither() -> None:
    secret = new_secret()
    key = made(secret=secret)
    assert secret not in repr(key)
    assert len(key.digest) == 64
    assert key.digest not in repr(key.view())
    assert key.view().name == "laptop"


def test_a_secret_finds_its_key_and_nothing_else_does() -> None:
    mine, other = made("a", secret="myco-a"), made("b", secret="myco-b")
    assert keys.holder("myco-b", (mine, other)) is other
    for wrong in ("", "myco-", "myco-c", "MYCO-A", "myco-a ", mine.digest, "ä\udcff", "x" * 100_000):
        assert keys.holder(wrong, (mine, other)) is None, wrong


def test_scopes_stand_in_one_order_and_admin_is_good_for_all() -> None:
    assert made(scopes=("read", "inference", "read")).scopes == ("inference", "read")
    everything: tuple[Scope, ...] = ("inference", "read", "admin")
    for scope in everything:
        keys.check_scope(made(scopes=("admin",)), scope, "it")
        keys.check_scope(made(scopes=(scope,)), scope, "it")
    for scope in everything[1:]:
        with pytest.raises(Refused) as caught:
            keys.check_scope(made(scopes=("inference",)), scope, "GET /x")
        assert caught.value.status == 403
        assert scope in caught.value.hint


def test_a_key_ends_when_it_was_said_to() -> None:
    lasting, short = made(), made(lifetime=60.0)
    keys.check_in_force(lasting, NOW + 1e9)
    keys.check_in_force(short, NOW + 60.0)
    with pytest.raises(TokenRequired, match="expired"):
        keys.check_in_force(short, NOW + 61.0)
    assert not keys.expired(short, NOW + 60.0)


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 65},
        {"name": "tab\tbed"},
        {"name": "myco-abc"},
        {"name": "taken"},
        {"name": "id-taken"},
        {"scopes": ()},
        {"profile": ""},
        {"profile": "a\nb"},
        {"rate": -1},
        {"concurrent": -1},
        {"rate": 10**9},
        {"lifetime": -1.0},
        {"lifetime": float("nan")},
        {"lifetime": float("inf")},
    ],
    ids=str,
)
def test_nonsense_makes_no_key(wanted: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        made(**{"name": "laptop", **wanted}, others=(made("taken"),))  # pyright: ignore[reportArgumentType]


def test_keys_do_not_grow_without_end() -> None:
    with pytest.raises(Refused, match=str(MAX_KEYS)):
        made(others=tuple(made(str(number)) for number in range(MAX_KEYS)))


def test_a_key_is_named_by_id_or_name() -> None:
    one, two = made("one"), made("two")
    assert keys.named("two", (one, two)) is two
    assert keys.named("id-one", (one, two)) is one
    with pytest.raises(NotFound, match="three"):
        keys.named("three", (one, two))
