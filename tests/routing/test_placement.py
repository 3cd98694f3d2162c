import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycoswarm.core.chat import ChatRequest, ResponseFormat, Tool, ToolChoice, message
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import CannotServe, ContextTooLong, InvalidRequest, NotFound, UnknownModel
from mycoswarm.core.ids import EngineId, ModelName, NodeId
from mycoswarm.core.model import Abilities, ModelOffer, ModelState, Speed
from mycoswarm.core.node import NodeRecord, NodeView, PeerState, QueueLoad
from mycoswarm.routing.placement import Choice, PlaceKey, Policy, choose, same_model

PLAIN = Abilities()
NO_WISHES = Policy()


def offer(
    name: str,
    *,
    decode: float = 20.0,
    state: ModelState = "loaded",
    parameters: int | None = None,
    instruct: bool = True,
    context: int | None = 4096,
    abilities: Abilities = PLAIN,
    size: int = 1_000_000_000,
    reason: str = "",
) -> ModelOffer:
    speed = Speed(prefill=decode * 20, decode=decode, load=1e9, samples=5)
    return ModelOffer(
        ModelName(name),
        EngineId("embedded"),
        state,
        size=size,
        parameters=parameters,
        context=context,
        abilities=abilities,
        speed=speed,
        instruct=instruct,
        reason=reason,
    )


def node(
    name: str, *offers: ModelOffer, state: PeerState = "up", rtt: float = 0.001, queues: tuple[QueueLoad, ...] = ()
) -> NodeView:
    ident = NodeId(name * 8)
    record = NodeRecord(ident, name, 1, 1, "0", models=offers, queues=queues)
    return NodeView(ident, name, state, rtt=rtt, record=record)


def ask(model: str = "auto", text: str = "hello", **fields: object) -> ChatRequest:
    return ChatRequest(model, (message("user", text),), **fields)  # pyright: ignore[reportArgumentType]


def decide(
    request: ChatRequest | EmbedRequest,
    *nodes: NodeView,
    policy: Policy = NO_WISHES,
    booked: dict[PlaceKey, int] | None = None,
    seed: int = 0,
) -> Choice:
    return choose(request, nodes, policy, booked or {}, random.Random(seed))


def test_the_faster_of_two_nodes_answers() -> None:
    choice = decide(ask("m"), node("boa", offer("m", decode=5), state="self"), node("miu", offer("m", decode=50)))
    assert [place.name for place in choice.order] == ["miu", "boa"]
    assert choice.explained.chosen == 0
    assert choice.explained.candidates[0].terms is not None


def test_a_warm_slow_node_can_beat_a_cold_fast_one() -> None:
    warm = node("naru", offer("m", decode=50))
    cold = node("miu", offer("m", decode=60, state="on_disk", size=30_000_000_000))
    assert decide(ask("m"), warm, cold).order[0].name == "naru"


def test_names_are_matched_as_people_type_them() -> None:
    assert same_model("Gemma3", "gemma3:latest")
    assert same_model("gemma3:27b", "GEMMA3:27b")
    assert not same_model("gemma3", "gemma3:27b")


def test_a_node_can_be_pinned_by_name_by_id_and_in_the_model() -> None:
    nodes = (node("miu", offer("m", decode=50)), node("naru", offer("m", decode=5)))
    assert [p.name for p in decide(ask("m@naru"), *nodes).order] == ["naru"]
    assert [p.name for p in decide(ask("m", prefer_node="NARU"), *nodes).order] == ["naru"]
    assert [p.name for p in decide(ask("m", prefer_node=nodes[1].id), *nodes).order] == ["naru"]
    with pytest.raises(NotFound) as caught:
        decide(ask("m@nara"), *nodes)
    assert caught.value.data["near"] == ["naru"]


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        decide(ask("gema3:27b"), node("miu", offer("gemma3:27b"), offer("qwen3:8b")))
    assert caught.value.data["near"] == ["gemma3:27b"]
    assert caught.value.exit_code == 4


def test_auto_takes_the_most_capable_that_starts_in_time() -> None:
    small = offer("small", decode=100, parameters=1)
    large = offer("large", decode=10, parameters=27)
    cold = offer("huge", decode=10, parameters=70, state="on_disk", size=40_000_000_000)
    assert decide(ask(), node("miu", small, large, cold)).order[0].offer.name == "large"
    hasty = Policy(patience=0.01)
    assert decide(ask(), node("miu", small, large, cold), policy=hasty).order[0].offer.name == "small"
    liked = Policy(prefer=("small",))
    assert decide(ask(), node("miu", small, large, cold), policy=liked).order[0].offer.name == "small"


def test_auto_leaves_base_and_embedding_models_alone() -> None:
    base = offer("base", parameters=70, instruct=False)
    embed = offer("embedder", parameters=90, abilities=Abilities(chat=False, embed=True))
    chat = offer("chatty", parameters=1)
    assert decide(ask(), node("miu", base, embed, chat)).order[0].offer.name == "chatty"
    assert decide(ask(), node("miu", base)).order[0].offer.name == "base"
    with pytest.raises(CannotServe):
        decide(ask(), node("miu", embed))


def test_fast_is_the_soonest_and_code_is_made_for_it() -> None:
    nodes = (node("miu", offer("big", decode=5, parameters=70), offer("tiny", decode=90, parameters=1)),)
    assert decide(ask("fast"), *nodes).order[0].offer.name == "tiny"
    coder = node("naru", offer("qwen3-coder", decode=20, parameters=3))
    assert decide(ask("code"), *nodes, coder).order[0].offer.name == "qwen3-coder"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("suspect", "miu does not answer"),
        ("down", "miu is down"),
        ("left", "miu has been stopped"),
        ("removed", "miu was removed"),
    ],
)
def test_only_nodes_that_are_up_get_work(state: PeerState, said: str) -> None:
    gone = node("miu", offer("m", decode=500), state=state)
    assert [p.name for p in decide(ask("m"), gone, node("boa", offer("m"), state="self")).order] == ["boa"]
    with pytest.raises(CannotServe) as caught:
        decide(ask("m"), gone, node("boa", state="self"))
    assert caught.value.exit_code == 6
    assert said in caught.value.message


def test_nobody_has_anything() -> None:
    with pytest.raises(CannotServe) as caught:
        decide(ask(), node("boa", state="self"))
    assert caught.value.data["models"] == 0
    assert "pull" in caught.value.hint
    with pytest.raises(CannotServe) as caught:
        decide(ask("m"), node("boa", state="self"), NodeView(NodeId("x"), "miu", "down"))
    assert "miu is down" in caught.value.message


def test_hard_limits_each_give_their_reason() -> None:
    tools = (Tool("add"),)
    plain = node("miu", offer("m"))
    able = node("naru", offer("m", decode=1, abilities=Abilities(tools=True, json_schema=True)))
    assert [p.name for p in decide(ask("m", tools=tools), plain, able).order] == ["naru"]
    shape = ResponseFormat("json_schema", {"type": "object"})
    choice = decide(ask("m", response_format=shape), plain, able)
    assert [p.name for p in choice.order] == ["naru"]
    assert choice.explained.candidates[-1].rejected == "cannot hold it to a JSON schema"
    with pytest.raises(InvalidRequest):
        decide(ask("m", tools=tools), plain)
    unfit = node("boa", offer("m", state="unfit", reason="needs 20 GB of 8 GB"))
    with pytest.raises(CannotServe) as caught:
        decide(ask("m"), unfit)
    assert "needs 20 GB of 8 GB" in caught.value.message


VECTORS = Abilities(chat=False, embed=True)


def minilm(state: ModelState = "loaded") -> ModelOffer:
    return msgspec.structs.replace(offer("all-minilm", state=state, abilities=VECTORS), engine=EngineId("minilm"))


def vectors(model: str = "embed", *texts: str) -> EmbedRequest:
    return EmbedRequest(model, texts or ("hello",))


@pytest.mark.parametrize("model", ["embed", "Embed", "auto", "text-embedding-3-small", "claude-opus-4-5", "all-minilm"])
def test_what_means_the_embedder(model: str) -> None:
    choice = decide(vectors(model), node("miu", offer("m"), minilm()))
    assert [place.offer.name for place in choice.order] == ["all-minilm"]


def test_a_vendors_name_stands_for_nothing_where_the_owner_says_so() -> None:
    strict = Policy(stand_in=False)
    for request in (vectors("text-embedding-3-small"), ask("gpt-4o")):
        with pytest.raises(UnknownModel):
            decide(request, node("miu", offer("m"), minilm()), policy=strict)


@pytest.mark.parametrize("model", ["gpt-oss:20b", "gpt-neo", "gpt-j", "gpt-j:6b", "gpt-2"])
def test_a_model_that_anybody_can_run_stands_for_nothing(model: str) -> None:
    with pytest.raises(UnknownModel):
        decide(ask(model), node("miu", offer("m")))


def test_a_model_of_that_very_name_goes_before_what_it_stands_for() -> None:
    own = offer("gpt-4o", decode=1, parameters=1)
    assert decide(ask("gpt-4o"), node("miu", own, offer("big", parameters=70))).order[0].offer.name == "gpt-4o"


def test_the_built_in_embedder_gives_way_to_any_other() -> None:
    other = offer("bge-m3", decode=0.1, state="on_disk", abilities=VECTORS)
    assert decide(vectors(), node("miu", minilm()), node("naru", other)).order[0].offer.name == "bge-m3"
    mine = Policy(prefer=("all-minilm",))
    assert decide(vectors(), node("miu", minilm()), node("naru", other), policy=mine).order[0].name == "miu"


def test_vectors_go_where_the_model_is_warm() -> None:
    cold, warm = node("boa", minilm("on_disk"), state="self"), node("miu", minilm())
    assert [place.name for place in decide(vectors(), cold, warm).order] == ["miu", "boa"]


def test_who_cannot_give_vectors_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="no embedding model"):
        decide(vectors("m"), node("miu", offer("m"), minilm()))
    with pytest.raises(InvalidRequest, match="writes no text"):
        decide(ask("all-minilm"), node("miu", offer("m"), minilm()))
    with pytest.raises(CannotServe, match="embedding model") as caught:
        decide(vectors(), node("miu", offer("m")))
    assert "mycoswarm[embed]" in caught.value.hint


@pytest.mark.parametrize("request_", [ask(), ask("m"), ask("fast"), ask("gpt-4o")])
def test_a_swarm_of_embedders_has_no_model_yet(request_: ChatRequest) -> None:
    with pytest.raises(CannotServe) as caught:
        decide(request_, node("boa", minilm(), state="self"))
    assert caught.value.data["models"] == 0
    assert "pull" in caught.value.hint


def test_vectors_have_no_limit_of_context_here_because_texts_count_singly() -> None:
    tiny = msgspec.structs.replace(minilm(), context=512)
    assert decide(vectors("embed", *["word " * 100] * 1000), node("miu", tiny)).order


def test_tools_are_possible_where_an_answer_can_be_held_to_a_shape() -> None:
    tools = (Tool("add"),)
    shaped = node("miu", offer("m", abilities=Abilities(json_schema=True)))
    assert decide(ask("m", tools=tools), shaped).order
    assert decide(ask("m", tools=tools, tool_choice=ToolChoice("none")), node("miu", offer("m"))).order


def test_a_prompt_beyond_every_context_is_told_with_both_numbers() -> None:
    with pytest.raises(ContextTooLong) as caught:
        decide(ask("m", text="x" * 40_000), node("miu", offer("m", context=4096)))
    assert caught.value.data["context"] == 4096
    assert caught.value.data["prompt_tokens"] > 10_000
    choice = decide(ask("m", text="x" * 40_000), node("miu", offer("m")), node("naru", offer("m", context=32_768)))
    assert [p.name for p in choice.order] == ["naru"]


def test_a_burst_spreads_over_equal_nodes() -> None:
    nodes = [node(name, offer("m")) for name in ("miu", "naru", "uncho", "boa")]
    booked: dict[PlaceKey, int] = {}
    for number in range(40):
        best = decide(ask("m"), *nodes, booked=booked, seed=number).order[0]
        booked[best.key] = booked.get(best.key, 0) + 1
    assert sorted(booked.values()) == [10, 10, 10, 10]


def test_equal_idle_nodes_are_told_apart_by_chance_not_by_id() -> None:
    nodes = [node(name, offer("m")) for name in ("miu", "naru", "uncho")]
    taken = {decide(ask("m"), *nodes, seed=seed).order[0].name for seed in range(50)}
    assert taken == {"miu", "naru", "uncho"}


offers = st.builds(
    offer,
    st.sampled_from(["a", "b"]),
    decode=st.floats(0.5, 200),
    state=st.sampled_from(["loaded", "on_disk", "unfit"]),
    size=st.integers(10**8, 10**11),
)
nodes_drawn = st.lists(
    st.builds(node, st.sampled_from(["miu", "naru", "uncho"]), offers, state=st.sampled_from(["up", "down"])),
    max_size=6,
)


@given(nodes_drawn, st.integers(0, 1000))
def test_never_an_unfit_or_unreachable_place_and_never_one_much_slower_than_another(
    nodes: list[NodeView], seed: int
) -> None:
    try:
        choice = decide(ask("a"), *nodes, seed=seed)
    except (CannotServe, UnknownModel):
        usable = [
            1
            for view in nodes
            if view.state == "up" and view.record
            for one in view.record.models
            if one.name == "a" and one.state != "unfit"
        ]
        assert not usable
        return
    best = choice.order[0]
    assert best.offer.state != "unfit"
    assert not best.usable
    totals = [one.terms.total for one in choice.explained.candidates if one.terms is not None]
    assert totals[0] <= min(totals) * 1.1 + 1e-9
