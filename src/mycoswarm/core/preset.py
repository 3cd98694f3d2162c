"""What a model may be given beside its file, and what a new model is made from."""

from typing import Any

import msgspec

from mycoswarm.core.chat import Message, Sampling


class Preset(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every conversation with a model begins with; a request's own words go first.

    system: for requests that bring none. messages: before those of the request. sampling, max_tokens: where it asks
    for nothing else. parameters: all of them as their author wrote them, to be shown.
    """

    system: str = ""
    messages: tuple[Message, ...] = ()
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    parameters: dict[str, Any] = {}

    def over(self, base: "Preset") -> "Preset":
        """This one on top of the preset of the model that a new one is made from."""
        changed = {
            field: value
            for field in Sampling.__struct_fields__
            if (value := getattr(self.sampling, field)) not in (None, ())
        }
        return Preset(
            system=self.system or base.system,
            messages=self.messages or base.messages,
            sampling=msgspec.structs.replace(base.sampling, **changed),
            max_tokens=base.max_tokens if self.max_tokens is None else self.max_tokens,
            parameters={**base.parameters, **self.parameters},
        )


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model to make: out of another one, or out of a GGUF file that was uploaded.

    source: the model's name; blob: `sha256:…` of the file. Exactly one of them is given. template: must be the one
    that the file has, or empty. quantization: likewise.
    """

    name: str
    source: str = ""
    blob: str = ""
    preset: Preset = Preset()
    licence: str = ""
    template: str = ""
    quantization: str = ""
