"""The official Python client of OpenAI, unchanged, against a real node with the starter model."""

from collections.abc import Iterator

import openai
import pytest

from tests.clients.running import RunningNode

pytestmark = pytest.mark.model


@pytest.fixture
def client(node: RunningNode) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_question_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "What is a mushroom? One sentence."}], max_tokens=20
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 20
