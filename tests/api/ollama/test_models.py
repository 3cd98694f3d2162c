import json
from typing import Any

import pytest

from mycoswarm.api.ollama.models import (
    FOREVER,
    NEVER,
    digest,
    human,
    modelfile,
    parameters_text,
    ps_json,
    show_json,
    tags_json,
)
from mycoswarm.core.chat import message
from mycoswarm.core.hardware import GpuSummary, HardwareSummary
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer
from mycoswarm.core.node import NodeRecord, NodeView
from mycoswarm.core.preset import Preset
from mycoswarm.core.views import ModelDetail, ModelFacts, ModelPlace, Models, ModelView, Nodes, Running

SHA = "0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387"


def offer(name: str = "smollm2:135m", engine: str = "embedded", **fields: Any) -> ModelOffer:
    known: dict[str, Any] = {"digest": f"sha256:{SHA}", "size": 144_811_072, "parameters": 134_515_008}
    known |= {"quantization": "Q8_0", "family": "llama", "context": 2048}
    return ModelOffer(ModelName(name), EngineId(engine), **{"state": "loaded", **known, **fields})


def place(node: str, one: ModelOffer, *, reachable: bool = True) -> ModelPlace:
    return ModelPlace(NodeId(node), node, reachable, one)


def view(*places: ModelPlace) -> ModelView:
    return ModelView(places[0].offer.name, places)


def test_tags() -> None:
    (tag,) = json.loads(tags_json(Models((view(place("boa", offer())),))))["models"]
    assert tag == {
        "name": "smollm2:135m",
        "model": "smollm2:135m",
        "modified_at": NEVER,
        "size": 144_811_072,
        "digest": SHA,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "134.52M",
            "quantization_level": "Q8_0",
        },
    }


def test_only_models_that_can_answer_are_listed_and_each_once() -> None:
    models = Models(
        (
            view(place("boa", offer("a")), place("miu", offer("a"))),
            view(place("boa", offer("gone"), reachable=False)),
            view(place("boa", offer("large", state="unfit"))),
        )
    )
    assert [one["name"] for one in json.loads(tags_json(models))["models"]] == ["a"]


def test_every_node_lists_the_same() -> None:
    here, there = place("boa", offer("a", digest=None)), place("miu", offer("a"))
    assert tags_json(Models((view(here, there),))) == tags_json(Models((view(there, here),)))


def test_a_digest_is_long_enough_to_be_cut() -> None:
    assert digest(offer()) == SHA
    assert digest(offer(digest="ollama:" + "ab" * 32)) == "ab" * 32
    assert len(digest(offer(digest=None))) == 64
    assert digest(offer("a", digest=None)) != digest(offer("b", digest=None))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (999, "999"),
        (22_700, "22.70K"),
        (134_515_008, "134.52M"),
        (8_030_261_248, "8.0B"),
        (27_400_000_000, "27.4B"),
    ],
)
def test_counts_as_they_write_them(count: int, text: str) -> None:
    assert human(count) == text


def test_running_models() -> None:
    hardware = HardwareSummary("cpu", 2, 1, 1, 1, 1, gpus=(GpuSummary("nvidia", "RTX 3090", 1, 1),))
    gpu = NodeView(NodeId("miu"), "miu", "up", record=NodeRecord(NodeId("miu"), "miu", 0, 0, "1", hardware=hardware))
    running = Running(
        (
            place("boa", offer(needs=200_000_000)),
            place("miu", offer("gemma3:27b", "ollama@127.0.0.1:11434", needs=20_000_000_000)),
            place("miu", offer("small", context=None)),
        )
    )
    first, second, third = json.loads(ps_json(running, Nodes((NodeView(NodeId("boa"), "boa", "self"), gpu))))["models"]
    assert (first["size"], first["size_vram"], first["context_length"]) == (200_000_000, 0, 2048)
    assert (first["expires_at"], first["mycoswarm"]) == (FOREVER, {"node": "boa"})
    assert second["size_vram"] == second["size"] == 20_000_000_000
    assert third["size_vram"] == 0, "the embedded engine computes on the processor"
    assert "context_length" not in third


def test_show() -> None:
    preset = Preset(
        "You are a pirate.", (message("user", "ahoy"),), parameters={"temperature": 0.5, "stop": ["a", "b"]}
    )
    facts = ModelFacts(
        {"general.architecture": "llama", "llama.context_length": 8192, "llama.embedding_length": 576},
        "{{ messages }}",
        "MIT",
        preset,
        86_400.0,
    )
    able = Abilities(vision=True, json_schema=True)
    shown = json.loads(show_json(ModelDetail(place("boa", offer(abilities=able)), facts)))
    assert shown["model_info"] == {
        "general.architecture": "llama",
        "general.parameter_count": 134_515_008,
        "llama.context_length": 2048,
        "llama.embedding_length": 576,
    }, "a client may fill the context that is served, not the one that the file was trained for"
    assert shown["capabilities"] == ["completion", "tools", "vision"]
    assert (shown["template"], shown["license"], shown["system"]) == ("{{ messages }}", "MIT", "You are a pirate.")
    assert shown["parameters"].splitlines() == [
        'stop                           "a"',
        'stop                           "b"',
        "temperature                    0.5",
    ]
    assert shown["modelfile"].splitlines()[1:] == [
        "FROM smollm2:135m",
        'SYSTEM """You are a pirate."""',
        'PARAMETER stop "a"',
        'PARAMETER stop "b"',
        "PARAMETER temperature 0.5",
        'MESSAGE user """ahoy"""',
        'LICENSE """MIT"""',
    ]
    assert shown["messages"] == [{"role": "user", "content": "ahoy"}]
    assert shown["modified_at"] == "1970-01-02T00:00:00Z"


def test_show_of_a_model_that_nobody_tells_much_of() -> None:
    bare = ModelOffer(ModelName("m"), EngineId("vllm@x"), "loaded", dimensions=384, abilities=Abilities(False, True))
    shown = json.loads(show_json(ModelDetail(place("miu", bare))))
    assert shown["model_info"] == {"general.architecture": "unknown", "unknown.embedding_length": 384}
    assert shown["capabilities"] == ["embedding"]
    assert "license" not in shown
    assert parameters_text({}) == ""
    assert modelfile(bare, Preset(), "").splitlines()[1:] == ["FROM m"]
