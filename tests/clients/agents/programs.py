"""The coding agents that are driven: how each is told of a node, and told to write one file without asking back. Pure.

Every setting here is one of the program's own documentation: its address, its model, no telemetry, no updates.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

MODEL = "writer"
SCRIPTED = (f"{MODEL}=write",)
"""Of `two_nodes.swarm`."""

FIRST_PORT = 7100
"""Each has one of its own, from here on: what goes over it is kept apart."""
NODE = "npm/node_modules/node-{system}/bin/node"


class Task(msgspec.Struct, frozen=True):
    """base: the node's address without a path. home, work: directories that only this run has."""

    base: str
    home: Path
    work: Path
    file: str = "hello.txt"
    content: str = "hello from the swarm"

    @property
    def target(self) -> Path:
        return self.work / self.file

    @property
    def prompt(self) -> str:
        """One instruction, as `scripted_answers.INSTRUCTION` has it."""
        return f"Create the file {self.target} with exactly this content: {self.content}"


class Program(msgspec.Struct, frozen=True):
    """One client.

    package: on its index. program: below the cache directory. node: it is JavaScript. tools: it writes by a tool call,
    else by text that it takes apart itself. files: written below the task's home before it starts.
    """

    name: str
    package: str
    program: str
    endpoint: str
    arguments: Callable[[Task], tuple[str, ...]]
    environment: Callable[[Task], Mapping[str, str]] = lambda task: {}
    files: Callable[[Task], Mapping[str, str]] = lambda task: {}
    node: bool = False
    tools: bool = True


def _claude(task: Task) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BASE_URL": task.base,
        "ANTHROPIC_AUTH_TOKEN": "none",
        "ANTHROPIC_MODEL": MODEL,
        "ANTHROPIC_SMALL_FAST_MODEL": MODEL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def _codex(task: Task) -> Mapping[str, str]:
    config = f"""
model = "{MODEL}"
model_provider = "swarm"
check_for_update_on_startup = false
[model_providers.swarm]
name = "swarm"
base_url = "{task.base}/v1"
wire_api = "responses"
[analytics]
enabled = false
"""
    return {".codex/config.toml": config}


def _opencode(task: Task) -> Mapping[str, str]:
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": f"swarm/{MODEL}",
        "small_model": f"swarm/{MODEL}",
        "permission": {"edit": "allow", "bash": "allow", "external_directory": "allow"},
        "provider": {
            "swarm": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "swarm",
                "options": {"baseURL": f"{task.base}/v1", "apiKey": "none"},
                "models": {MODEL: {"name": MODEL}},
            }
        },
    }
    return {".config/opencode/opencode.json": json.dumps(config)}


def _qwen(task: Task) -> Mapping[str, str]:
    config = {
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True, "enableAutoUpdate": False},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "openai"}},
    }
    return {".qwen/settings.json": json.dumps(config)}


def _pi(task: Task) -> Mapping[str, str]:
    model = {"id": MODEL, "contextWindow": 131072, "maxTokens": 8192}
    swarm = {"baseUrl": f"{task.base}/v1", "api": "openai-completions", "apiKey": "none", "models": [model]}
    return {
        ".pi/agent/models.json": json.dumps({"providers": {"swarm": swarm}}),
        ".pi/agent/settings.json": json.dumps({"enableInstallTelemetry": False}),
    }


PROGRAMS: tuple[Program, ...] = (
    Program(
        name="Claude Code",
        package="@anthropic-ai/claude-code",
        program="npm/node_modules/.bin/claude",
        endpoint="/v1/messages",
        arguments=lambda task: ("-p", "--allowedTools", "Write", "--permission-mode", "acceptEdits", "--", task.prompt),
        environment=_claude,
    ),
    Program(
        name="Codex",
        package="@openai/codex",
        program="npm/node_modules/.bin/codex",
        endpoint="/v1/responses",
        arguments=lambda task: (
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            task.prompt,
        ),
        files=_codex,
        node=True,
    ),
    Program(
        name="opencode",
        package="opencode-ai",
        program="npm/node_modules/.bin/opencode",
        endpoint="/v1/chat/completions",
        arguments=lambda task: ("run", task.prompt),
        environment=lambda task: {
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        },
        files=_opencode,
    ),
    Program(
        name="Qwen Code",
        package="@qwen-code/qwen-code",
        program="npm/node_modules/.bin/qwen",
        endpoint="/v1/chat/completions",
        arguments=lambda task: ("--yolo", "-p", task.prompt),
        environment=lambda task: {
            "OPENAI_BASE_URL": f"{task.base}/v1",
            "OPENAI_API_KEY": "none",
            "OPENAI_MODEL": MODEL,
        },
        files=_qwen,
        node=True,
    ),
    Program(
        name="pi",
        package="@mariozechner/pi-coding-agent",
        program="npm/node_modules/.bin/pi",
        endpoint="/v1/chat/completions",
        arguments=lambda task: ("-p", "--provider", "swarm", "--model", MODEL, "--no-session", task.prompt),
        environment=lambda task: {"PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0"},
        files=_pi,
        node=True,
    ),
    Program(
        name="aider",
        package="aider-chat",
        program="aider/bin/aider",
        endpoint="/v1/chat/completions",
        arguments=lambda task: (
            "--model",
            f"openai/{MODEL}",
            "--yes-always",
            "--no-git",
            "--analytics-disable",
            "--no-check-update",
            "--no-show-model-warnings",
            "--no-show-release-notes",
            "--message",
            task.prompt,
            task.file,
        ),
        environment=lambda task: {"OPENAI_API_BASE": f"{task.base}/v1", "OPENAI_API_KEY": "none"},
        tools=False,
    ),
)
