"""Types of single fields that several endpoints of OpenAI's dialect take. Their bounds stand in /schema too. Pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from mycoswarm.core.chat import Sampling

Temperature = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Positive = Annotated[float, Meta(gt=0)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Whole = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Limit = Annotated[int, Meta(ge=1)]

VENDOR_ONLY = frozenset(
    {
        "audio",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "web_search_options",
    }
)
"""Fields that ask something of their servers or name the user to them: accepted, without effect, never forwarded."""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class SamplingFields(msgspec.Struct, kw_only=True):
    """How a token is drawn. `repetition_penalty` is vLLM's name for llama.cpp's `repeat_penalty`."""

    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Whole | None = None
    min_p: Share | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: Positive | None = None
    repetition_penalty: Positive | None = None

    def sampling(self, stop: tuple[str, ...] = ()) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            seed=self.seed,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repeat_penalty=self.repeat_penalty if self.repeat_penalty is not None else self.repetition_penalty,
            stop=stop,
        )
