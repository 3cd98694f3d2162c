"""Messages in the one order that every chat template takes: system first, then user and assistant in turn. Pure."""

from collections.abc import Sequence

from mycoswarm.core.chat import Message, Role, TextPart, ToolCallPart

_GAP = TextPart("\n\n")


def fold(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same words for a template that refused them: later system messages become part of what the user said next,
    neighbours of one role become one message. Tool calls and their results stay as they are."""
    lead: list[Message] = []
    rest: list[Message] = []
    for message in messages:
        if message.role != "system":
            rest.append(message)
        elif rest:
            rest.append(Message("user", message.parts))
        else:
            lead.append(message)
    return tuple(_joined([*lead, *rest], ("system", "user", "assistant")))


def join_tail(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Assistant messages at the end as one: engines continue the last message, and there can be one last only."""
    begin = len(messages)
    while begin and messages[begin - 1].role == "assistant":
        begin -= 1
    if len(messages) - begin < 2:
        return tuple(messages)
    return (*messages[:begin], *_joined(messages[begin:], ("assistant",)))


def _joined(messages: Sequence[Message], roles: tuple[Role, ...]) -> list[Message]:
    joined: list[Message] = []
    for message in messages:
        before = joined[-1] if joined else None
        if before is not None and before.role == message.role and message.role in roles and not _calls(before):
            gap = (_GAP,) if before.text and message.text else ()
            joined[-1] = Message(message.role, (*before.parts, *gap, *message.parts))
        else:
            joined.append(message)
    return joined


def _calls(message: Message) -> bool:
    return any(isinstance(part, ToolCallPart) for part in message.parts)
