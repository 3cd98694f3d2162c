import msgspec
import pytest

from mycoswarm.hardware.parse import nvidia_smi, nvml
from tests.hardware.recorded import MIB, text


def recorded() -> nvml.Snapshot:
    """The recording of the two A5000 cards, as NVML gives the same values."""
    server = "/root/src/llama.cpp/build/bin/llama-server"

    def card(bus: str, free: int, temperature: int, used: int) -> nvml.Card:
        process = nvml.Process(100477, server, used * MIB)
        return nvml.Card("NVIDIA RTX A5000", bus, 24564 * MIB, free * MIB, 0, temperature, (8, 6), (process,))

    cards = (card("00000000:81:00.0", 1678, 13, 22430), card("00000000:C1:00.0", 6862, 15, 17246))
    return nvml.Snapshot("590.44.01", 13010, cards)


def test_the_library_and_the_tool_give_the_same_cards():
    assert nvml.gpus(recorded()) == nvidia_smi.parse(text("two_a5000_model_loaded.xml"))


def test_a_snapshot_survives_the_pipe():
    assert nvml.parse(msgspec.json.encode(recorded()).decode()) == recorded()


def test_what_a_card_does_not_support_is_none():
    card = nvml.Card("NVIDIA card", "", None, None, None, None, None, (nvml.Process(1, "", None),))
    (gpu,) = nvml.gpus(nvml.Snapshot(cards=(card,)))
    assert (gpu.memory_total, gpu.memory_free, gpu.utilization, gpu.temperature) == (None, None, None, None)
    assert (gpu.bus, gpu.api, gpu.processes[0].memory) == (None, None, None)


@pytest.mark.parametrize("other", ["", "{", "[]", '{"cards": 3}', "Segmentation fault"])
def test_anything_else_is_refused(other: str):
    with pytest.raises(ValueError, match="not a snapshot of NVML"):
        nvml.parse(other)


@pytest.mark.parametrize(
    ("code", "says"),
    [(18, "different versions"), (9, "not loaded"), (15, "error 15 (GPU is lost)")],
)
def test_failures_are_named(code: int, says: str):
    problem = nvml.failure(nvml.Snapshot(error=code, message="GPU is lost"))
    assert problem is not None
    assert says in problem.message
    assert problem.hint


@pytest.mark.parametrize("snapshot", [recorded(), nvml.Snapshot(error=nvml.LIBRARY_NOT_FOUND)])
def test_no_failure_where_there_are_cards_or_the_tool_may_know_more(snapshot: nvml.Snapshot):
    assert nvml.failure(snapshot) is None
