"""docs/metrics.md, made from the tables in code: `python -m tests.metrics_reference` writes it anew."""

from pathlib import Path

from mycoswarm.telemetry.health import COUNTERS, FRESH, READINGS, Counter

FILE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = f"""# Metrics

Made from the tables in `telemetry/health.py` by `python -m tests.metrics_reference`; a test fails when it is out of
date.

`GET /metrics` on the user port answers in Prometheus' text format, without a token on loopback: it holds counts and
sizes of this machine, no prompts and no names. Counters with a severity in the last column are also told by
`mycoswarm doctor`, in words, for {FRESH / 60:g} minutes after it last happened.

## What is measured

| metric | kind | labels | meaning |
|---|---|---|---|
"""

COUNTED = """
## What is counted since the node was started

| metric | labels | meaning | `doctor` |
|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    measured = [f"| `{name}` | {one.kind} | {_labels(one.labels)} | {one.help} |" for name, one in READINGS.items()]
    counted = [f"| `{name}` | {_labels(one.labels)} | {one.help} | {_told(one)} |" for name, one in COUNTERS.items()]
    return HEAD + "\n".join(measured) + "\n" + COUNTED + "\n".join(counted) + "\n"


def _told(counter: Counter) -> str:
    if counter.told is None:
        return ""
    usual = counter.told.severity
    apart = [f"`{value}`: {told.severity}" for value, told in counter.apart.items() if told.severity != usual]
    return "; ".join([usual, *apart])


def _labels(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
