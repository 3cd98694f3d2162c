import pytest

from mycoswarm.api.ollama.messages import Call, Function, Said, images, read_messages, read_tools
from mycoswarm.core.chat import ImagePart, TextPart, ThinkingPart, Tool, ToolCallPart, ToolResultPart
from mycoswarm.core.errors import InvalidRequest


def test_a_conversation_with_calls_and_their_results() -> None:
    messages = read_messages(
        [
            Said("system", "be brief"),
            Said("user", "look", images=["iVBORw0KGgo="]),
            Said(
                "assistant",
                "",
                thinking="hm",
                tool_calls=[
                    Call(Function("weather", {"town": "Bern"})),
                    Call(Function("time", None)),
                    Call(Function("weather", '{"town":"Rom"}'), id="mine"),
                ],
            ),
            Said("tool", "noon", tool_name="time"),
            Said("tool", "sunny", tool_call_id="mine"),
            Said("tool", "rain"),
            Said("tool", "nobody asked", tool_name="time"),
        ]
    )
    assert [one.role for one in messages] == ["system", "user", "assistant", "tool", "tool", "tool", "tool"]
    assert messages[1].parts == (TextPart("look"), ImagePart("image/png", "iVBORw0KGgo="))
    assert messages[2].parts == (
        ThinkingPart("hm"),
        ToolCallPart("call_0", "weather", '{"town":"Bern"}'),
        ToolCallPart("call_1", "time", "{}"),
        ToolCallPart("mine", "weather", '{"town":"Rom"}'),
    )
    results = [one.parts[0] for one in messages[3:]]
    assert results == [
        ToolResultPart("call_1", "noon"),
        ToolResultPart("mine", "sunny"),
        ToolResultPart("call_0", "rain"),
        ToolResultPart("", "nobody asked"),
    ]


def test_an_empty_message_is_a_message() -> None:
    assert read_messages([Said("user")])[0].parts == (TextPart(""),)


def test_roles_and_arguments_that_are_not_understood() -> None:
    with pytest.raises(InvalidRequest, match="role 'boss'"):
        read_messages([Said("boss", "hi")])
    for wrong in ("[1]", "{", "5"):
        with pytest.raises(InvalidRequest, match="arguments"):
            read_messages([Said("assistant", tool_calls=[Call(Function("f", wrong))])])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("/9j/4AAQ", "image/jpeg"),
        ("iVBORw0K", "image/png"),
        ("R0lGODlh", "image/gif"),
        ("UklGRgAA", "image/webp"),
        ("AAAA\nBBBB", "image/png"),
        ("data:image/webp;base64,UklGRg", "image/webp"),
    ],
)
def test_images_are_known_by_their_first_bytes(data: str, kind: str) -> None:
    (part,) = images([data])
    assert part.media_type == kind
    assert "\n" not in part.data
    assert not part.data.startswith("data:")


def test_an_image_is_never_fetched() -> None:
    with pytest.raises(InvalidRequest, match="inside the request"):
        images(["https://example.org/cat.png"])
    with pytest.raises(InvalidRequest, match="empty"):
        images([" "])


def test_tools() -> None:
    schema = {"type": "object", "properties": {}}
    tools = read_tools(
        [
            {"type": "function", "function": {"name": "f", "description": "does", "parameters": schema}},
            {"function": {"name": "g"}},
            {"type": "web_search"},
        ]
    )
    assert tools == (Tool("f", "does", schema), Tool("g"))
    for wrong in ({"type": "function"}, {}, {"function": {"name": 5}}):
        with pytest.raises(InvalidRequest, match="function name"):
            read_tools([wrong])
    with pytest.raises(InvalidRequest, match="is not understood"):
        read_tools([{"type": "function", "function": {"name": "f", "parameters": []}}])
