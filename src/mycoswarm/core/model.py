"""What a node can offer of a model."""

from typing import Literal

import msgspec

from mycoswarm.core.ids import EngineId, ModelName

ModelState = Literal["loaded", "loading", "on_disk", "unfit"]


class Abilities(msgspec.Struct, frozen=True, omit_defaults=True):
    chat: bool = True
    embed: bool = False
    tools: bool = False
    vision: bool = False
    thinking: bool = False
    json_schema: bool = False


class Speed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens/s and bytes/s; samples 0 is an estimate from the hardware, anything above was measured."""

    prefill: float
    decode: float
    load: float | None = None
    samples: int = 0

    @property
    def measured(self) -> bool:
        return self.samples > 0


class ModelOffer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model on one engine of one node.

    digest: `sha256:…` of the model file, where the engine tells. size: bytes of the file. parameters: count.
    family: its architecture, e.g. `llama`. dimensions: of its vectors, where it embeds.
    context: tokens it is served with. needs: bytes of memory it takes when loaded (measured once it was loaded).
    reason: why it is unfit.
    """

    name: ModelName
    engine: EngineId
    state: ModelState
    digest: str | None = None
    size: int | None = None
    parameters: int | None = None
    quantization: str | None = None
    family: str | None = None
    dimensions: int | None = None
    context: int | None = None
    needs: int | None = None
    abilities: Abilities = Abilities()
    speed: Speed | None = None
    instruct: bool = True
    reason: str = ""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a long action: `done` of `total` bytes (or items) of `stage`; the last has stage "done"."""

    stage: str
    text: str = ""
    done: int = 0
    total: int | None = None
