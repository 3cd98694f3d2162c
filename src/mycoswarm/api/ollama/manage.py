"""Ollama's management of models: bodies of pull, delete, copy and create in, their status lines out. Pure."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.ollama.messages import Said, read_messages
from mycoswarm.api.ollama.options import read_options
from mycoswarm.api.ollama.shape import named
from mycoswarm.api.routes import decode_body
from mycoswarm.core.errors import InvalidRequest, UnknownModel
from mycoswarm.core.model import Progress
from mycoswarm.core.preset import Preset, Recipe
from mycoswarm.core.views import Models, ModelView


class Wanted(msgspec.Struct, frozen=True):
    """A model, and whether what becomes of it is told line by line."""

    model: str
    stream: bool


class _Named(msgspec.Struct):
    """name: what older clients call `model`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None


class _Copy(msgspec.Struct):
    source: str | None = None
    destination: str | None = None


class _Create(_Named):
    """from_: the model that it is made of. files: digests of uploads by their names."""

    from_: str | None = msgspec.field(name="from", default=None)
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    license: str | list[str] | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Said] | None = None
    quantize: str | None = None
    quantization: str | None = None
    modelfile: str | None = None


_named_decoder = msgspec.json.Decoder(_Named)
_copy_decoder = msgspec.json.Decoder(_Copy)
_create_decoder = msgspec.json.Decoder(_Create)


def read_wanted(arrival: Arrival) -> Wanted:
    """The body of pull, delete and show. Raises InvalidRequest."""
    body = decode_body(arrival.body, _named_decoder)
    return Wanted(named(body.model or body.name), body.stream is not False)


def read_copy(arrival: Arrival) -> Recipe:
    """`POST /api/copy`: a model that is made of another one and nothing else. Raises InvalidRequest."""
    body = decode_body(arrival.body, _copy_decoder)
    if not body.source or not body.destination:
        raise InvalidRequest("source and destination are required", "name two models")
    return Recipe(body.destination, source=body.source)


def read_create(arrival: Arrival) -> tuple[Recipe, bool]:
    """`POST /api/create`: the recipe, and whether what becomes of it is told line by line. Raises InvalidRequest."""
    body = decode_body(arrival.body, _create_decoder)
    name = named(body.model or body.name)
    if body.modelfile and not (body.from_ or body.files):
        raise InvalidRequest("a Modelfile is read by the client, not here", "send `from` or `files` instead")
    if body.adapters:
        raise InvalidRequest("adapters are not served", "merge the adapter into the model before it is uploaded")
    if bool(body.from_) == bool(body.files):
        raise InvalidRequest("neither 'from' or 'files' was specified", "send one of the two, not both")
    options = read_options(body.parameters)
    preset = Preset(
        system=body.system or "",
        messages=read_messages(body.messages or ()),
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        parameters={key: value for key, value in (body.parameters or {}).items() if value is not None},
    )
    licence = "\n".join(body.license) if isinstance(body.license, list) else body.license or ""
    recipe = Recipe(
        name,
        source=body.from_ or "",
        blob=_only_gguf(body.files) if body.files else "",
        preset=preset,
        licence=licence,
        template=body.template or "",
        quantization=body.quantize or body.quantization or "",
    )
    return recipe, body.stream is not False


def _only_gguf(files: dict[str, str]) -> str:
    """The digest of the one file. A name is the client's own and is looked at for its ending only."""
    models = [digest for name, digest in files.items() if not name.casefold().endswith((".json", ".safetensors"))]
    if len(models) != 1 or len(files) != 1:
        raise InvalidRequest(
            "a model is made of one GGUF file", "convert safetensors, or merge the pieces, before it is uploaded"
        )
    return models[0]


def to_pull(models: Models, name: str) -> str | None:
    """The name by which a model is fetched; None where the swarm has it already and nobody needs to fetch it."""
    if any(entry.name == name for entry in models.catalog):
        return name
    there = any(_same(view.name, name) and any(place.reachable for place in view.places) for view in models.models)
    return None if there else name


def to_remove(models: Models, name: str) -> str:
    """The name by which a model is deleted. Raises UnknownModel; InvalidRequest where it is not ours to delete."""
    views = [view for view in models.models if _same(view.name, name)]
    if not views:
        raise UnknownModel(f"no node has a model named '{name}'", "`ollama list` shows them", near=[])
    for view in views:
        if _embedded(view):
            return view.name
    place = views[0].places[0]
    raise InvalidRequest(
        f"{views[0].name} lies in another engine ({place.offer.engine}) of {place.node_name}", "delete it there"
    )


def _embedded(view: ModelView) -> bool:
    return any(place.offer.engine == "embedded" for place in view.places)


def _same(one: str, other: str) -> bool:
    return one.casefold().removesuffix(":latest") == other.casefold().removesuffix(":latest")


Line = dict[str, Any]


class PullLines:
    """What a pull says as it goes on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._verifying = False

    def begin(self) -> Iterable[Line]:
        yield {"status": "pulling manifest"}

    def step(self, step: Progress) -> Iterable[Line]:
        match step.stage:
            case "download":
                # An id of the layer, so that a client draws one bar for it; they cut it at fixed places.
                layer = "sha256:" + hashlib.sha256(f"{self._name} {step.text}".encode()).hexdigest()
                said: Line = {"status": f"pulling {layer[7:19]}", "digest": layer, "total": step.total or 0}
                yield said | ({"completed": step.done} if step.done else {})
            case "unpack" | "requantise" | "requantised":
                if not self._verifying:
                    self._verifying = True
                    yield {"status": "verifying sha256 digest"}
            case "done":
                yield {"status": "writing manifest"}
                yield {"status": "success"}
            case _:
                if step.text:
                    yield {"status": step.text}


class CreateLines:
    """What making a model says as it goes on."""

    def begin(self) -> Iterable[Line]:
        yield {"status": "gathering model components"}

    def step(self, step: Progress) -> Iterable[Line]:
        match step.stage:
            case "share":
                yield {"status": f"using existing layer {step.text}".rstrip()}
            case "hash":
                yield {"status": "calculating digest"}
            case "manifest":
                yield {"status": "writing manifest"}
            case "done":
                yield {"status": "success"}
            case _:
                if step.text:
                    yield {"status": step.text}
