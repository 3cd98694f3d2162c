"""LangChain's and LiteLLM's classes, unchanged: the model asks for a tool, is told its result, and answers.

The engine behind the node is a script, so that the model calls the tool each time; every hop between is real.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.clients.running import RunningNode, running_node

MODEL = "caller"
QUESTION = "What is the weather in Bonn?"
RESULT = "It rains in Bonn."
KEY = SecretStr("none")


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The address of a server that answers by a script."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mycoswarm.testing.scripted_server", "--port", "0", "--model", f"{MODEL}=call"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield "http://" + process.stdout.readline().rpartition(" ")[2].strip()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def scripted(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node without a model of its own, behind which the script answers."""
    settings = {"engines": engine, "embedded": "no"}
    with running_node(tmp_path_factory.mktemp("scripted"), settings) as node:
        yield node


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"It rains in {city}."


TOOLS: list[BaseTool] = [weather]


def models(url: str) -> dict[str, BaseChatModel]:
    """What a program that is written for each of the three would make."""
    return {
        "openai": ChatOpenAI(model=MODEL, base_url=f"{url}/v1", api_key=KEY, max_retries=0),
        "responses": ChatOpenAI(
            model=MODEL, base_url=f"{url}/v1", api_key=KEY, max_retries=0, use_responses_api=True, store=False
        ),
        "anthropic": ChatAnthropic(model_name=MODEL, base_url=url, api_key=KEY, max_retries=0),  # pyright: ignore[reportCallIssue]
        "ollama": ChatOllama(model=MODEL, base_url=url),
    }


def asked(answer: BaseMessage) -> dict[str, Any]:
    """The one call in an answer."""
    assert isinstance(answer, AIMessage)
    (call,) = answer.tool_calls
    assert (call["name"], set(call["args"])) == ("weather", {"city"})
    return dict(call)


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "ollama"])
def test_langchain_calls_a_tool_and_hears_its_result(scripted: RunningNode, dialect: str) -> None:
    model = models(scripted.url)[dialect].bind_tools(TOOLS)
    history: list[BaseMessage] = [HumanMessage(QUESTION)]
    answer = model.invoke(history)
    call = asked(answer)
    history += [answer, ToolMessage(RESULT, tool_call_id=call["id"])]
    last = model.invoke(history)
    assert isinstance(last, AIMessage)
    assert not last.tool_calls
    assert QUESTION in last.text


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "ollama"])
def test_langchain_streams_the_same_call(scripted: RunningNode, dialect: str) -> None:
    model = models(scripted.url)[dialect].bind_tools(TOOLS)
    whole: AIMessageChunk | None = None
    for chunk in model.stream([HumanMessage(QUESTION)]):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    asked(whole)


@pytest.mark.model
def test_langchain_s_embeddings_are_text_where_they_are_told_so(node: RunningNode) -> None:
    made = OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=f"{node.url}/v1", api_key=KEY, check_embedding_ctx_length=False
    )
    vectors = made.embed_documents(["a mushroom", "a forest"])
    assert len({len(vector) for vector in vectors}) == 1


LITELLM = """
import json, sys
import litellm
litellm.telemetry = False

model, base = sys.argv[1:]
tools = [{"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}]
messages = [{"role": "user", "content": "What is the weather in Bonn?"}]
asked = dict(model=model, api_base=base, api_key="none", tools=tools, max_tokens=200, num_retries=0)
# Else any tool makes it import its gateway for MCP, which needs a package that it does not require.
asked["_skip_mcp_handler"] = True
first = litellm.completion(messages=messages, **asked).choices[0]
(call,) = first.message.tool_calls
messages += [first.message.model_dump(exclude_none=True), {
    "role": "tool", "tool_call_id": call.id, "name": "weather", "content": "It rains in Bonn."
}]
last = litellm.completion(messages=messages, **asked).choices[0]
pieces = litellm.completion(messages=messages, stream=True, **asked)
print(json.dumps({
    "finish": first.finish_reason, "name": call.function.name, "arguments": json.loads(call.function.arguments),
    "answer": last.message.content, "streamed": "".join(piece.choices[0].delta.content or "" for piece in pieces),
}))
"""
"""In a process of its own: it reads its settings when it is imported."""


@pytest.mark.parametrize(
    ("model", "path"),
    [(f"openai/{MODEL}", "/v1"), (f"anthropic/{MODEL}", ""), (f"ollama_chat/{MODEL}", "")],
)
def test_litellm_calls_a_tool_and_hears_its_result(scripted: RunningNode, model: str, path: str) -> None:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    done = subprocess.run(
        [sys.executable, "-c", LITELLM, model, scripted.url + path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["name"], set(said["arguments"])) == ("weather", {"city"})
    assert said["finish"] == "tool_calls"
    assert QUESTION in said["answer"]
    assert said["streamed"] == said["answer"]
