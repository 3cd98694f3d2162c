"""How many tokens a request's prompt will be, without any tokenizer: by bytes, so within a factor of two. Pure."""

import math

import msgspec

from mycoswarm.core.chat import ChatRequest, ImagePart, TextPart, ThinkingPart, ToolCallPart, ToolResultPart

BYTES_PER_TOKEN = 4.0
"""English text; too high for code and other scripts, where prefill is then estimated too cheap by up to 2×."""

TOKENS_PER_MESSAGE = 4
IMAGE_TOKENS = 600


def estimate_tokens(request: ChatRequest) -> int:
    """Of the prompt: messages, images and tools, or the raw text."""
    size = len((request.prompt or "").encode())
    images = 0
    for message in request.messages:
        for part in message.parts:
            match part:
                case TextPart() | ThinkingPart() | ToolResultPart():
                    size += len(part.text.encode())
                case ToolCallPart():
                    size += len(part.name) + len(part.arguments.encode())
                case ImagePart():
                    images += 1
    for tool in request.tools:
        size += len(tool.name) + len(tool.description.encode()) + len(msgspec.json.encode(tool.parameters))
    return math.ceil(size / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(request.messages) + IMAGE_TOKENS * images
