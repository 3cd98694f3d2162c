"""What holds for every struct of core, whichever module it stands in."""

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest

from mycoswarm import core
from mycoswarm.core.errors import MycoError

MODULES = [importlib.import_module(f"mycoswarm.core.{info.name}") for info in pkgutil.iter_modules(core.__path__)]
STRUCTS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
]


def named(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def smallest(kind: Any) -> Any:
    """Some JSON that a value of this type can be read from: required fields only."""
    match msgspec.inspect.type_info(kind):
        case msgspec.inspect.StructType() as struct:
            made = {field.encode_name: smallest_of(field.type) for field in struct.fields if field.required}
            return made | ({struct.tag_field: struct.tag} if struct.tag_field else {})
        case other:
            return smallest_of(other)


def smallest_of(info: Any) -> Any:
    match info:
        case msgspec.inspect.StructType():
            return smallest(info.cls)
        case msgspec.inspect.UnionType():
            return None if info.includes_none else smallest_of(info.types[0])
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.StrType() | msgspec.inspect.BytesType():
            return ""
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return 0
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return [smallest_of(info.item_type)]
        case msgspec.inspect.DictType():
            return {}
        case _:
            raise AssertionError(f"a type that the wire has not met yet: {info}")


@pytest.mark.parametrize("kind", STRUCTS, ids=named)
def test_every_struct_is_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", STRUCTS, ids=named)
def test_every_struct_can_be_read_from_its_required_fields_and_written_again(kind: type[msgspec.Struct]) -> None:
    value = msgspec.convert(smallest(kind), kind)
    sent = msgspec.json.encode(value)
    assert msgspec.json.decode(sent, type=kind) == value


@pytest.mark.parametrize("kind", STRUCTS, ids=named)
def test_every_struct_passes_over_what_a_newer_version_adds(kind: type[msgspec.Struct]) -> None:
    known = smallest(kind)
    assert msgspec.convert({**known, "of_tomorrow": 1}, kind) == msgspec.convert(known, kind)


def test_errors_stand_in_one_module_only() -> None:
    elsewhere = [
        kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, MycoError) and kind.__module__ != "mycoswarm.core.errors"
    ]
    assert elsewhere == []
