"""What stands in messages of OpenAI's dialect, to canonical parts: images, arguments of calls, results. Pure."""

import binascii

import msgspec

from mycoswarm.api.openai.reading import refused
from mycoswarm.core.chat import ImagePart


def image(url: str, at: str) -> ImagePart:
    """An image of a data: address. Raises InvalidRequest for any other, and for base64 that is none."""
    head, comma, data = url.partition(",")
    media_type, *parameters = head.removeprefix("data:").split(";")
    if not (head.startswith("data:") and comma and parameters and parameters[-1] == "base64"):
        raise refused(
            at,
            "an image must come inside the request",
            "send it as a data: address with base64; nothing is fetched",
            "invalid_image_url",
        )
    if not media_type.startswith("image/"):
        raise refused(at, f"'{media_type}' is no image", "send PNG, JPEG, WebP or GIF", "unsupported_image_media_type")
    data = "".join(data.split())
    try:
        size = len(binascii.a2b_base64(data, strict_mode=True))
    except (binascii.Error, ValueError):
        raise refused(at, "the image is not valid base64", "encode its bytes anew", "invalid_base64_image") from None
    if not size:
        raise refused(at, "the image is empty", "send its bytes", "empty_image_file")
    return ImagePart(media_type, data)


def arguments(text: str | None) -> str:
    """The arguments of a call in a conversation, as the JSON text of an object, whatever a model had written.

    Their API takes any text here: a program hands back what it was given, also where that was cut off.
    """
    if not text or not text.strip():
        return "{}"
    try:
        msgspec.json.decode(text, type=dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return msgspec.json.encode({"input": text}).decode()
    return text
