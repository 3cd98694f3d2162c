"""Ollama's lists: /api/tags, /api/ps, /api/show. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mycoswarm.api.ollama.shape import stamp
from mycoswarm.core.chat import Message
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.preset import Preset
from mycoswarm.core.views import ModelDetail, ModelPlace, Models, ModelView, Nodes, Running

NEVER = "0001-01-01T00:00:00Z"
"""When nobody knows when. Their command shows it as `Never`."""
FOREVER = "2318-01-01T00:00:00Z"
"""Until when a model stays that no end is known of. Their command shows a moment that has passed as `Stopping`."""


def tags_json(models: Models) -> bytes:
    """Every model of the swarm that can answer now, once, the same from whichever node it is asked."""
    return msgspec.json.encode({"models": [_tag(place.offer) for place in _one_of_each(models.models)]})


def _one_of_each(views: Iterable[ModelView]) -> Iterable[ModelPlace]:
    for view in views:
        able = [place for place in view.places if place.reachable and place.offer.state != "unfit"]
        if able:
            yield min(able, key=lambda place: (place.offer.digest or "~", place.node, place.offer.engine))


def _tag(offer: ModelOffer) -> dict[str, Any]:
    return _named(offer) | {
        "modified_at": NEVER,
        "size": offer.size or 0,
        "digest": digest(offer),
        "details": details(offer),
    }


def _named(offer: ModelOffer) -> dict[str, Any]:
    return {"name": offer.name, "model": offer.name}


def ps_json(running: Running, nodes: Nodes) -> bytes:
    """Every model in memory, once a node. How much of it is on a graphics card no engine tells: all, or nothing."""
    with_gpu = {view.id for view in nodes.nodes if view.record and view.record.hardware and view.record.hardware.gpus}
    return msgspec.json.encode({"models": [_running(place, place.node in with_gpu) for place in running.loaded]})


def _running(place: ModelPlace, gpu: bool) -> dict[str, Any]:
    offer = place.offer
    size = offer.needs or offer.size or 0
    said = _named(offer) | {
        "size": size,
        "digest": digest(offer),
        "details": details(offer),
        "expires_at": FOREVER,
        "size_vram": size if gpu and offer.engine != "embedded" else 0,
        "mycoswarm": {"node": place.node_name},
    }
    return said | ({"context_length": offer.context} if offer.context else {})


def show_json(detail: ModelDetail) -> bytes:
    """What is known of one model; `model_info` has at least what clients take the context and the vectors from."""
    offer, facts = detail.place.offer, detail.facts
    parameters = parameters_text(facts.preset.parameters)
    said: dict[str, Any] = {
        "modelfile": modelfile(offer, facts.preset, facts.licence),
        "parameters": parameters,
        "template": facts.template,
        "system": facts.preset.system,
        "license": facts.licence,
        "messages": [_message(one) for one in facts.preset.messages],
    }
    return msgspec.json.encode(
        {key: value for key, value in said.items() if value}
        | {
            "details": details(offer),
            "model_info": model_info(offer, facts.header),
            "capabilities": capabilities(offer),
            "modified_at": stamp(facts.modified) if facts.modified else NEVER,
        }
    )


def digest(offer: ModelOffer) -> str:
    """Of the model as its engine tells it, else of its name: their command cuts it to twelve letters unseen."""
    told = (offer.digest or "").rpartition(":")[2]
    return told if len(told) >= 12 else hashlib.sha256(offer.name.encode()).hexdigest()


def details(offer: ModelOffer) -> dict[str, Any]:
    """Their `details`; what is not known is empty."""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": offer.family or "",
        "families": [offer.family] if offer.family else [],
        "parameter_size": human(offer.parameters or 0),
        "quantization_level": offer.quantization or "",
    }


def human(count: int) -> str:
    """Parameters as they write them: 8.0B, 134.52M; empty for 0."""
    if not count:
        return ""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f}B"
    if count >= 1_000_000:
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.2f}K" if count >= 1000 else str(count)


def capabilities(offer: ModelOffer) -> list[str]:
    """Their names of what it can do. A model that is held to the shape of a call by constraint calls tools as well."""
    can = offer.abilities
    named = {
        "completion": can.chat,
        "embedding": can.embed,
        "tools": can.chat and (can.tools or can.json_schema),
        "vision": can.vision,
        "thinking": can.thinking,
    }
    return [name for name, able in named.items() if able]


def model_info(offer: ModelOffer, header: Mapping[str, Any]) -> dict[str, Any]:
    """The file's own keys. The context is the one it is served with, which is what a client may fill."""
    family = str(header.get("general.architecture") or offer.family or "unknown")
    known: dict[str, Any] = {"general.architecture": family}
    if offer.parameters:
        known["general.parameter_count"] = offer.parameters
    if offer.context:
        known[f"{family}.context_length"] = offer.context
    if offer.dimensions and f"{family}.embedding_length" not in header:
        known[f"{family}.embedding_length"] = offer.dimensions
    return dict(header) | known


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """One a line, name and value in columns; of a list one a line each. Text is quoted."""
    return "\n".join(f"{key:<30} {_value(value)}" for key, value in _pairs(parameters))


def _pairs(parameters: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in sorted(parameters.items()):
        for one in value if isinstance(value, list | tuple) else (value,):
            yield key, one


def _value(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def modelfile(offer: ModelOffer, preset: Preset, licence: str) -> str:
    """The model in the language of their `create`, as far as it can be said there."""
    lines = [f"# {offer.name}, as a new one would be made from it", f"FROM {offer.name}"]
    if preset.system:
        lines.append(f'SYSTEM """{preset.system}"""')
    lines += [f"PARAMETER {key} {_value(value)}" for key, value in _pairs(preset.parameters)]
    lines += [f'MESSAGE {one.role} """{one.text}"""' for one in preset.messages]
    if licence:
        lines.append(f'LICENSE """{licence}"""')
    return "\n".join(lines) + "\n"


def _message(one: Message) -> dict[str, str]:
    return {"role": one.role, "content": one.text}
