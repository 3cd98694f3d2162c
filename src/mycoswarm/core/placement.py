"""Where a request could be answered, and what each place would cost: what `--why` shows."""

import msgspec

from mycoswarm.core.ids import EngineId, ModelName, NodeId


class Terms(msgspec.Struct, frozen=True):
    """The estimate's terms in seconds; `guessed` names those that rest on hardware figures instead of measurement."""

    link: float
    load: float
    wait: float
    prefill: float
    decode: float
    wake: float = 0.0
    guessed: tuple[str, ...] = ()

    @property
    def first_token(self) -> float:
        """Seconds until the first token."""
        return self.link + self.wake + self.load + self.wait + self.prefill

    @property
    def total(self) -> float:
        """Seconds until the answer is complete."""
        return self.first_token + self.decode


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model on one engine of one node. Either `terms` (it could answer) or `rejected` (why not)."""

    node: NodeId
    node_name: str
    engine: EngineId
    model: ModelName
    terms: Terms | None = None
    rejected: str = ""


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision. candidates: best first, then the rejected. chosen: index of the taken one, None when none can."""

    asked: str
    candidates: tuple[Candidate, ...]
    chosen: int | None = None
    reason: str = ""
