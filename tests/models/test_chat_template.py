"""Templates as model families write them, shortened to what concerns tools."""

import pytest

from mycoswarm.models.chat_template import renders_tools, takes_tools

HERMES = """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {{- "# Tools\\n\\nYou may call one or more functions.\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- for message in messages %}{{ message.content }}{%- endfor %}
"""
LLAMA = """
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
    {%- endfor %}
{%- endif %}
"""
MISTRAL = """
{%- if tools is not none and (message == user_messages[-1]) %}
    {{- "[AVAILABLE_TOOLS] [" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- '{"type": "function", "function": ' + tool|tojson + '}' }}
    {%- endfor %}
{%- endif %}
"""
SHOWN = "{% if tools %}{{ tools | tojson }}{% endif %}{{ messages[0]['content'] }}"
GRANITE = "{%- if tools %}{%- set tools_text = tools | tojson(indent=2) %}{{ '<|tools|>' + tools_text }}{%- endif %}"
MACRO = "{%- macro show(list) %}{%- for one in list %}{{ one }}{%- endfor %}{%- endmacro %}{{ show(tools) }}"
NAMESPACED = "{%- set ns = namespace(shown=tools) %}{%- for t in ns.shown %}{{ t }}{%- endfor %}"

CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']}}{% endfor %}"
COMMENTED = "{# This template takes no tools. {% for tool in tools %} #}" + CHATML
SAID = "{{ 'You have no tools here: tools are for others' }}{% if messages[0].role == 'tools' %}{% endif %}" + CHATML
RESULTS_ONLY = """
{%- for message in messages %}
    {%- if message['role'] == 'assistant' and message['tool_calls'] is not none %}
        {%- for tool in message['tool_calls'] %}{{ tool['function']['name'] }}{%- endfor %}
    {%- endif %}
{%- endfor %}
"""
RESET = "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}" + CHATML
ASKED_ONLY = "{%- if tools %}{{ raise_exception('This model does not support it') }}{%- endif %}" + CHATML
ANOTHERS = "{%- for tool in message.tools %}{{ tool }}{%- endfor %}{{ tools_text }}{{ my_tools }}"


@pytest.mark.parametrize(
    "template", [HERMES, LLAMA, MISTRAL, SHOWN, GRANITE, MACRO, NAMESPACED], ids=lambda text: text.strip()[:30]
)
def test_these_have_a_place_for_tools(template: str) -> None:
    assert renders_tools(template)


@pytest.mark.parametrize(
    "template",
    ["", CHATML, COMMENTED, SAID, RESULTS_ONLY, RESET, ASKED_ONLY, ANOTHERS],
    ids=lambda text: text.strip()[:30],
)
def test_these_have_none(template: str) -> None:
    assert not renders_tools(template)


def test_a_template_for_tools_alone_counts() -> None:
    assert takes_tools({"tokenizer.chat_template": CHATML, "tokenizer.chat_template.tool_use": HERMES})
    assert not takes_tools({"tokenizer.chat_template": CHATML, "tokenizer.chat_template.rag": HERMES})
    assert not takes_tools({})
