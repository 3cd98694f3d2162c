"""Which place a request goes to: names, then hard limits, then the estimate. Pure: the same state, the same answer."""

import difflib
import random
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mycoswarm.core.chat import ChatRequest
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import CannotServe, ContextTooLong, InvalidRequest, MycoError, UnknownModel
from mycoswarm.core.ids import NodeId
from mycoswarm.core.model import ModelOffer
from mycoswarm.core.node import NodeView, PeerState, QueueLoad
from mycoswarm.core.placement import Candidate, Placement, Terms
from mycoswarm.routing.estimate import Demand, demand, estimate
from mycoswarm.routing.homes import is_node, named

ALIASES = ("auto", "fast", "code", "embed")
"""Names that stand for whatever model suits: the most capable, the soonest, the best at code, the one for vectors."""

_VENDORS = re.compile(r"(claude-|chatgpt-|gpt-(?!oss|neo|j(?!\w)|2)|o[134](-|$)|codex-|gemini-).*|text-embedding-.*")
"""Names of models that only their vendors' machines run. Programs have them built in, and ask for them wherever their
address points."""

MARGIN = 0.1
"""Places whose totals differ by less than this share count as equal; they are told apart by load, then by chance."""

BUILT_IN = "minilm"
"""The engine that gives vectors where no other one does."""

SLACK = 1.25
"""Prompt sizes are estimated by bytes; only a prompt beyond this multiple of a context is refused here. The engine
counts exactly."""

_AWAY: Mapping[PeerState, str] = {
    "suspect": "does not answer",
    "down": "is down",
    "left": "has been stopped",
    "removed": "was removed from the swarm",
}
"""Why a node gets no work in this state."""

PlaceKey = tuple[str, str, str]
"""(node id, engine id, model name)."""


class Place(msgspec.Struct, frozen=True):
    """A model on an engine on a node, and how the way there is. usable: "" or why the node gets no work now."""

    node: NodeId
    name: str
    offer: ModelOffer
    queue: QueueLoad | None
    rtt: float | None
    here: bool
    usable: str = ""

    @property
    def key(self) -> PlaceKey:
        return (self.node, self.offer.engine, self.offer.name)


class Policy(msgspec.Struct, frozen=True):
    """The owner's word. prefer: model names in order of liking. patience: seconds to the first token for `auto`.

    stand_in: a vendor's name that no node has means `auto` or, of an embedding model, `embed`.
    """

    prefer: tuple[str, ...] = ()
    patience: float = 5.0
    stand_in: bool = True


class Choice(msgspec.Struct, frozen=True):
    """The decision: `order` are the places that can answer, best first; `explained` is the same for people."""

    order: tuple[Place, ...]
    explained: Placement


def places(nodes: Iterable[NodeView]) -> tuple[Place, ...]:
    """Every model of every node whose record is known."""
    found: list[Place] = []
    for view in nodes:
        if view.record is None:
            continue
        usable = _AWAY.get(view.state, "")
        queues = {(queue.engine, queue.model): queue for queue in view.record.queues}
        found.extend(
            Place(
                node=view.id,
                name=view.name,
                offer=offer,
                queue=queues.get((offer.engine, offer.name)),
                rtt=view.rtt,
                here=view.state == "self",
                usable=usable,
            )
            for offer in view.record.models
        )
    return tuple(found)


def same_model(asked: str, name: str) -> bool:
    """Whether a user who types `asked` means `name`: case counts for nothing and `:latest` may be left out."""
    return _plain(asked) == _plain(name)


def _plain(name: str) -> str:
    return name.casefold().removesuffix(":latest")


Request = ChatRequest | EmbedRequest


def split_pin(request: Request) -> tuple[str, str | None]:
    """Model and node of `model@node`, or of the request's own wish for a node."""
    model, at, node = request.model.rpartition("@")
    if at and model and node:
        return model, node
    return request.model or "auto", request.prefer_node


def choose(
    request: Request,
    nodes: Sequence[NodeView],
    policy: Policy,
    booked: Mapping[PlaceKey, int],
    rng: random.Random,
) -> Choice:
    """Where `request` goes.

    Raises:
        UnknownModel: no node has a model of this name; `data["near"]` holds the nearest names.
        NotFound: the pinned node does not exist.
        CannotServe: models are there, but none can answer now; the sentence says why.
        ContextTooLong, InvalidRequest: no model of that name can take this request at all.
    """
    model, pin = split_pin(request)
    needed = demand(request)
    everything = places(nodes)
    if pin is not None:
        named(pin, nodes)
    wanted = [place for place in everything if same_model(model, place.offer.name)]
    alias = "" if wanted else _alias(model, needed, policy)
    # Those who ask for text are not told of the embedders that every node has: they have no model yet.
    known = everything if needed.ability == "embed" else tuple(one for one in everything if one.offer.abilities.chat)
    if alias and known:
        wanted = list(everything)
    if not wanted:
        raise _nothing(model, known, nodes)
    fitting: list[tuple[Place, Terms]] = []
    rejected: list[Candidate] = []
    for place in wanted:
        reason = _limit(place, needed, pin)
        if reason:
            rejected.append(_candidate(place, rejected=reason))
        else:
            terms = estimate(
                needed,
                place.offer,
                place.queue,
                place.rtt,
                here=place.here,
                booked=booked.get(place.key, 0),
            )
            fitting.append((place, terms))
    ordered = _order(fitting, alias, needed, policy, booked, rng)
    if not ordered:
        raise _refusal(model, alias, wanted, rejected, needed)
    best, terms = ordered[0]
    explained = Placement(
        asked=request.model or "auto",
        candidates=tuple(_candidate(place, terms=cost) for place, cost in ordered) + tuple(rejected),
        chosen=0,
        reason=_reason(alias, best, terms, len(ordered), policy),
    )
    return Choice(tuple(place for place, _ in ordered), explained)


def _candidate(place: Place, terms: Terms | None = None, rejected: str = "") -> Candidate:
    return Candidate(place.node, place.name, place.offer.engine, place.offer.name, terms, rejected)


def _limit(place: Place, needed: Demand, pin: str | None) -> str:
    """The first hard limit that this place breaks, or nothing."""
    offer = place.offer
    if pin is not None and not is_node(pin, place.node, place.name):
        return f"is not {pin}, which was asked for"
    if place.usable:
        return place.usable
    if offer.state == "unfit":
        return (f"cannot load it: {offer.reason}" if offer.reason else "") or "has too little memory for it"
    if needed.ability == "embed" and not offer.abilities.embed:
        return "has it for text only, not for vectors"
    if needed.ability != "embed" and not offer.abilities.chat:
        return "has it for embedding only"
    if needed.tools and not _calls_tools(offer):
        return "has it without tool calls"
    if needed.vision and not offer.abilities.vision:
        return "has it without eyes for images"
    if needed.json_schema and not offer.abilities.json_schema:
        return "cannot hold it to a JSON schema"
    if needed.ability != "embed" and offer.context is not None and needed.prompt > offer.context * SLACK:
        return f"has a context of {offer.context} tokens, the prompt has about {needed.prompt}"
    return ""


def _calls_tools(offer: ModelOffer) -> bool:
    """By its template, or because the engine can hold its answer to the shape of a call."""
    return offer.abilities.tools or offer.abilities.json_schema


def _alias(model: str, needed: Demand, policy: Policy) -> str:
    """The alias that a name is or stands for, or nothing. For vectors there is one only."""
    name = model.casefold()
    if name not in ALIASES and not (policy.stand_in and _VENDORS.fullmatch(name)):
        return ""
    if needed.ability == "embed":
        return "embed"
    return name if name in ALIASES else "auto"


def _order(
    fitting: Sequence[tuple[Place, Terms]],
    alias: str,
    needed: Demand,
    policy: Policy,
    booked: Mapping[PlaceKey, int],
    rng: random.Random,
) -> list[tuple[Place, Terms]]:
    """Best first. Equal places are told apart by load and then by chance, never by id."""
    shuffled = list(fitting)
    rng.shuffle(shuffled)
    by_cost = sorted(shuffled, key=lambda pair: pair[1].total)
    if by_cost:
        # Within MARGIN of the best, the least loaded goes first; sorting is stable, so chance decides the rest.
        limit = by_cost[0][1].total * (1 + MARGIN)
        equal = [pair for pair in by_cost if pair[1].total <= limit]
        equal.sort(key=lambda pair: _load(pair[0], booked))
        by_cost = equal + by_cost[len(equal) :]
    if not alias:
        return by_cost
    if alias == "embed":
        # Vectors of two models cannot be compared, so which one it is must not depend on the moment.
        return sorted(by_cost, key=lambda pair: _vector_rank(pair[0].offer, policy))
    instruct = [pair for pair in by_cost if pair[0].offer.instruct] or by_cost
    if alias == "fast":
        return instruct
    patient = [pair for pair in instruct if pair[1].first_token <= policy.patience]
    late = sorted((pair for pair in instruct if pair not in patient), key=lambda pair: pair[1].first_token)
    patient.sort(key=lambda pair: _rank(pair[0].offer, alias, needed, policy))
    return patient + late


def _load(place: Place, booked: Mapping[PlaceKey, int]) -> int:
    published = place.queue.running + place.queue.waiting if place.queue else 0
    return max(published, booked.get(place.key, 0))


def _rank(offer: ModelOffer, alias: str, needed: Demand, policy: Policy) -> tuple[int, ...]:
    """Lower is more capable: the owner's order, then (where there are tools) a model that was taught to call them,
    then (for `code`) one made for it, then the parameter count."""
    untaught = 1 if needed.tools and not offer.abilities.tools else 0
    made_for_it = 0 if alias == "code" and "code" in offer.name.casefold() else 1
    return (_liked(offer, policy), untaught, made_for_it, -(offer.parameters or offer.size or 0))


def _vector_rank(offer: ModelOffer, policy: Policy) -> tuple[int | str, ...]:
    """The owner's order, then any model before the built-in one, then the larger one, then its name."""
    return (_liked(offer, policy), int(offer.engine == BUILT_IN), -(offer.parameters or offer.size or 0), offer.name)


def _liked(offer: ModelOffer, policy: Policy) -> int:
    return next((i for i, name in enumerate(policy.prefer) if same_model(name, offer.name)), len(policy.prefer))


def _reason(alias: str, best: Place, terms: Terms, fitting: int, policy: Policy) -> str:
    if fitting == 1:
        return f"{best.name} is the only place that can answer"
    seconds = f"{terms.total:.1f} s in all, first token in {terms.first_token:.1f} s"
    if alias in ("auto", "code"):
        if terms.first_token > policy.patience:
            return (
                f"no model starts within {policy.patience:g} s; {best.offer.name} on {best.name} is soonest ({seconds})"
            )
        return f"{best.offer.name} is the most capable that starts within {policy.patience:g} s ({seconds})"
    return f"{best.name} is done soonest ({seconds})"


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _nothing(model: str, everything: Sequence[Place], nodes: Sequence[NodeView]) -> MycoError:
    """No place by that name: is it a slip of the pen, an offline node, or an empty swarm?"""
    unseen = [view.name for view in nodes if view.state in ("down", "suspect", "left")]
    if not everything:
        if unseen:
            return CannotServe(
                f"no node can serve this: {_list(unseen)} {'is' if len(unseen) == 1 else 'are'} down "
                "and no other node has a model",
                "`mycoswarm nodes` shows who is down and since when",
                models=0,
            )
        return CannotServe(
            "no node of this swarm has a model",
            "fetch the starter model: mycoswarm pull smollm2:135m",
            models=0,
        )
    names = sorted({place.offer.name for place in everything})
    near = difflib.get_close_matches(model.casefold(), [name.casefold() for name in names], 3, 0.6)
    near = [name for name in names if name.casefold() in near]
    if not near:
        family = _plain(model).partition(":")[0]
        near = [name for name in names if name.casefold().startswith(family)][:3]
    hint = f"did you mean {_either(near)}?" if near else f"there are {_list(names[:6])}"
    return UnknownModel(f"no node has a model named '{model}'", hint, near=near)


def _refusal(
    model: str, alias: str, named: Sequence[Place], rejected: Sequence[Candidate], needed: Demand
) -> MycoError:
    """Places by that name exist and each breaks a limit."""
    asked = "any model" if alias else f"'{model}'"
    reasons = sorted({f"{one.node_name} {one.rejected}" for one in rejected})
    alive = [place for place in named if not place.usable]
    if alive and all(place.offer.context is not None for place in alive):
        largest = max(place.offer.context or 0 for place in alive)
        if needed.prompt > largest * SLACK:
            return ContextTooLong(
                f"the prompt has about {needed.prompt} tokens and {asked} takes {largest}",
                "shorten it, or raise `context` in the settings of the node that runs the model",
                prompt_tokens=needed.prompt,
                context=largest,
            )
    if alive and needed.tools and not any(_calls_tools(place.offer) for place in alive):
        return InvalidRequest(f"{asked} cannot call tools", "ask without `tools`, or take another model")
    if alive and needed.vision and not any(place.offer.abilities.vision for place in alive):
        return InvalidRequest(f"{asked} cannot look at images", "send text only, or take a model with vision")
    if alive and needed.ability == "embed" and not any(place.offer.abilities.embed for place in alive):
        if alias:
            return CannotServe(
                "no node of this swarm has an embedding model",
                'the built-in one comes with: pip install "mycoswarm[embed]"',
                models=len(alive),
            )
        return InvalidRequest(f"{asked} is no embedding model", "`embed` names the one that this swarm has")
    if alive and not alias and needed.ability != "embed" and not any(place.offer.abilities.chat for place in alive):
        return InvalidRequest(f"{asked} is an embedding model and writes no text", "`auto` names one that does")
    return CannotServe(
        f"no node can serve {asked} now ({'; '.join(reasons)})",
        "`mycoswarm nodes` and `mycoswarm models` show what is missing",
        rejected=reasons,
        models=len(named),
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
