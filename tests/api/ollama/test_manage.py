import json

import pytest

from mycoswarm.api.dialect import Arrival
from mycoswarm.api.ollama.manage import (
    CreateLines,
    PullLines,
    Wanted,
    read_copy,
    read_create,
    read_wanted,
    to_pull,
    to_remove,
)
from mycoswarm.core.chat import Sampling, message
from mycoswarm.core.errors import InvalidRequest, UnknownModel
from mycoswarm.core.ids import EngineId, ModelName, NodeId, RequestId
from mycoswarm.core.model import ModelOffer, Progress
from mycoswarm.core.preset import Preset, Recipe
from mycoswarm.core.views import CatalogEntry, ModelPlace, Models, ModelView

DIGEST = "sha256:" + "a" * 64


def arrival(**body: object) -> Arrival:
    return Arrival(RequestId("req-1"), 5, {}, {}, json.dumps(body).encode())


def holder(name: str, engine: str, *, reachable: bool = True) -> ModelView:
    offer = ModelOffer(ModelName(name), EngineId(engine), "on_disk")
    return ModelView(name, (ModelPlace(NodeId("miu"), "miu", reachable, offer),))


def test_old_clients_say_name() -> None:
    assert read_wanted(arrival(model="m", name="other")) == Wanted("m", True)
    assert read_wanted(arrival(name="m", stream=False, insecure=True)) == Wanted("m", False)
    with pytest.raises(InvalidRequest, match="model is required"):
        read_wanted(arrival())


def test_a_copy_is_made_of_its_source() -> None:
    assert read_copy(arrival(source="a", destination="b")) == Recipe("b", source="a")
    for wrong in ({"source": "a"}, {"destination": "b"}, {}):
        with pytest.raises(InvalidRequest, match="required"):
            read_copy(arrival(**wrong))


def test_a_model_of_another_one() -> None:
    recipe, streamed = read_create(
        arrival(
            **{"model": "mario", "from": "llama3", "system": "You are Mario.", "stream": False},
            parameters={"temperature": 1, "num_predict": 9, "stop": ["x"], "num_ctx": 4096, "seed": None},
            messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "It's me"}],
            license=["MIT", "and more"],
            template="{{ t }}",
            quantize="q4_K_M",
        )
    )
    assert not streamed
    assert recipe == Recipe(
        "mario",
        source="llama3",
        preset=Preset(
            "You are Mario.",
            (message("user", "hi"), message("assistant", "It's me")),
            Sampling(temperature=1, stop=("x",)),
            9,
            {"temperature": 1, "num_predict": 9, "stop": ["x"], "num_ctx": 4096},
        ),
        licence="MIT\nand more",
        template="{{ t }}",
        quantization="q4_K_M",
    )


def test_a_model_of_an_upload() -> None:
    recipe, streamed = read_create(arrival(name="mine", files={"/home/me/../mine.gguf": DIGEST}))
    assert (recipe, streamed) == (Recipe("mine", blob=DIGEST), True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "from"),
        ({"from": "a", "files": {"x": DIGEST}}, "from"),
        ({"from": "a", "adapters": {"x": DIGEST}}, "adapters"),
        ({"files": {"model.safetensors": DIGEST}}, "one GGUF"),
        ({"files": {"a.gguf": DIGEST, "b.gguf": DIGEST}}, "one GGUF"),
        ({"files": {"a.gguf": DIGEST, "config.json": DIGEST}}, "one GGUF"),
        ({"modelfile": "FROM llama3"}, "Modelfile"),
        ({"from": "a", "parameters": {"temperature": "hot"}}, "temperature"),
        ({"from": "a", "messages": [{"role": "boss"}]}, "role"),
    ],
)
def test_what_cannot_be_made_is_refused(body: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read_create(arrival(model="m", **body))


def test_what_the_swarm_has_need_not_be_fetched() -> None:
    catalog = (CatalogEntry("starter:1m", "", "MIT", 1, 1),)
    models = Models((holder("gemma3:27b", "ollama"), holder("gone", "ollama", reachable=False)), catalog)
    assert to_pull(models, "starter:1m") == "starter:1m"
    assert to_pull(models, "gemma3:27b") is None
    assert to_pull(models, "GEMMA3:27b") is None
    assert to_pull(models, "gone") == "gone"
    assert to_pull(models, "nothing") == "nothing"


def test_what_lies_in_another_engine_is_not_ours_to_delete() -> None:
    models = Models((holder("ours", "embedded"), holder("theirs:latest", "ollama@x")))
    assert to_remove(models, "ours:latest") == "ours"
    with pytest.raises(InvalidRequest, match="another engine"):
        to_remove(models, "theirs")
    with pytest.raises(UnknownModel):
        to_remove(models, "nothing")


def test_the_lines_of_a_pull() -> None:
    lines = PullLines("m")
    steps = [
        Progress("resolve", "asking the package index"),
        Progress("download", "part-1", 0, 90),
        Progress("download", "part-1", 45, 90),
        Progress("unpack", "", 0, 10),
        Progress("requantise", "", 5, 10),
        Progress("done", "m"),
    ]
    told = [*lines.begin(), *(line for step in steps for line in lines.step(step))]
    layer = told[2]["digest"]
    assert layer.startswith("sha256:")
    assert len(layer) == 71
    assert told == [
        {"status": "pulling manifest"},
        {"status": "asking the package index"},
        {"status": f"pulling {layer[7:19]}", "digest": layer, "total": 90},
        {"status": f"pulling {layer[7:19]}", "digest": layer, "total": 90, "completed": 45},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]


def test_the_lines_of_making_a_model() -> None:
    lines = CreateLines()
    steps = [Progress("share", DIGEST), Progress("hash"), Progress("manifest", DIGEST), Progress("done", "m")]
    told = [*lines.begin(), *(line for step in steps for line in lines.step(step))]
    assert [line["status"] for line in told] == [
        "gathering model components",
        f"using existing layer {DIGEST}",
        "calculating digest",
        "writing manifest",
        "success",
    ]
