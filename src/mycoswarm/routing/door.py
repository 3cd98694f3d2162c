"""What no engine could serve is refused before any is asked. Pure."""

import binascii

from mycoswarm.core.chat import ChatRequest, ImagePart
from mycoswarm.core.embed import EmbedRequest
from mycoswarm.core.errors import InvalidRequest, TooLarge

MAX_TEXTS = 8192
"""Of one request for vectors: four times what OpenAI takes. Each becomes some kilobytes of answer, held as a whole."""


def check(request: ChatRequest | EmbedRequest) -> None:
    """Raises InvalidRequest, TooLarge."""
    if isinstance(request, EmbedRequest):
        if not request.texts:
            raise InvalidRequest("there is no text to embed", "send at least one")
        if len(request.texts) > MAX_TEXTS:
            said = f"{len(request.texts)} texts are more than the {MAX_TEXTS} of one request"
            raise TooLarge(said, "send them in parts")
        return
    if request.prompt is None and not request.messages:
        raise InvalidRequest("there are no messages to answer", "send at least one")
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ImagePart):
                _check_image(part)


def _check_image(image: ImagePart) -> None:
    try:
        data = binascii.a2b_base64(image.data, strict_mode=True)
    except ValueError:
        raise InvalidRequest("an image is not valid base64", "send it as base64 without line breaks") from None
    if not data:
        raise InvalidRequest("an image is empty")
