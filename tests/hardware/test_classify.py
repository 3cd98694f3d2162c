import msgspec
import pytest

from mycoswarm.core.hardware import Cpu, Disk, EngineFound, Gpu, GpuSummary, HardwareSummary, Memory, Report, Role
from mycoswarm.hardware import classify
from mycoswarm.hardware.parse import apple, cpuinfo, meminfo, nvidia_smi
from tests.hardware.recorded import GIB, text

EMBEDDED = EngineFound("embedded", "", "1")
OLLAMA = EngineFound("ollama", "http://127.0.0.1:11434", "1")

M710Q = cpuinfo.cpu("x86_64", [cpuinfo.lscpu(text("lscpu_i5_6500t.txt"))])
PI4 = cpuinfo.cpu("aarch64", [cpuinfo.lscpu(text("lscpu_rpi4.txt"))])
PI4_32 = cpuinfo.cpu("armv7l", [cpuinfo.cpuinfo(text("cpuinfo_rpi4_32bit.txt"))])
OLD_XEON = cpuinfo.cpu("x86_64", [cpuinfo.cpuinfo(text("cpuinfo_e5620_last.txt"))])
RTX3090 = nvidia_smi.parse(text("rtx3090_idle.xml"))
M1 = apple.gpus(apple.parse(text("apple_m1_displays.json")), Memory(8 * GIB, 4 * GIB))
EIGHT = meminfo.parse(text("meminfo_8gb.txt"))
SSD = Disk("/", "/dev/sda2", "ext4", 250 * GIB, 120 * GIB, holds_state=True)


def machine(
    cpu: Cpu = M710Q, memory: Memory = EIGHT, gpus: tuple[Gpu, ...] = (), disks: tuple[Disk, ...] = (SSD,)
) -> Report:
    return Report(cpu, memory, gpus, disks, (), (), ())


def roles(report: Report, *engines: EngineFound, embedded_gpu: bool = False) -> dict[str, str]:
    return {role.name: role.reason for role in classify.classify(report, engines, embedded_gpu)}


def refusals(report: Report, *engines: EngineFound) -> dict[str, str]:
    return {part.name: part.reason for part in classify.verdicts(report, engines) if not part.played}


@pytest.mark.parametrize(
    ("cpu", "reason"),
    [
        (M710Q, None),
        (PI4, None),
        (OLD_XEON, "the embedded engine needs AVX2, FMA, F16C, which this processor has not"),
        (PI4_32, "the embedded engine has no build for armv7l processors"),
        (Cpu("unknown", "x86_64", None, 2, None, None), "the embedded engine needs AVX2, FMA, F16C"),
        (Cpu("Apple M2", "arm64", 8, 8, None, None), None),
    ],
)
def test_where_the_embedded_engine_can_run(cpu: Cpu, reason: str | None):
    found = classify.engine_gate(cpu)
    assert found == reason if reason is None else found is not None and found.startswith(reason)


def test_an_office_machine_with_the_embedded_engine():
    assert roles(machine(), EMBEDDED) == {
        "cpu_inference": "4 cores, 7.8 GiB RAM, with the embedded engine",
        "cpu_worker": "4 cores, 7.8 GiB RAM",
        "storage": "120 GiB free on /, 7.8 GiB RAM",
    }


def test_an_office_machine_without_an_engine_works_and_stores():
    assert set(roles(machine())) == {"cpu_worker", "storage"}
    assert refusals(machine()) == {"gpu_inference": "no GPU", "cpu_inference": "no engine is installed"}


def test_the_gpu_machine_with_ollama():
    found = roles(machine(gpus=RTX3090, memory=Memory(64 * GIB, 60 * GIB)), OLLAMA, EMBEDDED)
    assert found["gpu_inference"] == "NVIDIA GeForce RTX 3090 with 24.0 GiB, used by Ollama"
    assert found["cpu_inference"].endswith("with Ollama and the embedded engine")


def test_a_card_that_no_engine_uses_says_how_to_use_it():
    report = machine(gpus=RTX3090)
    assert "gpu_inference" not in roles(report, EMBEDDED)
    reason = refusals(report, EMBEDDED)["gpu_inference"]
    assert "no engine that uses it; install the engine's CUDA 13.2 build" in reason
    assert "gpu_inference" in roles(report, EMBEDDED, embedded_gpu=True)


def test_apple_silicon_needs_no_other_build():
    cpu = Cpu("Apple M1", "arm64", 8, 8, None, None, ("asimd",))
    found = roles(machine(cpu=cpu, gpus=M1), EMBEDDED)
    assert found["gpu_inference"] == (
        "Apple M1 (7 GPU cores) with 8.0 GiB shared with the processor, used by the embedded engine"
    )


@pytest.mark.parametrize("memory", [None, 1 * GIB])
def test_a_card_with_little_or_unknown_memory_is_no_gpu_for_inference(memory: int | None):
    card = Gpu(0, "intel", "HD Graphics 530", memory, None)
    assert "HD Graphics 530" in refusals(machine(gpus=(card,)), OLLAMA)["gpu_inference"]


def test_without_avx2_only_engines_that_came_otherwise_infer():
    report = machine(cpu=OLD_XEON)
    assert "AVX2" in refusals(report, EMBEDDED)["cpu_inference"]
    assert roles(report, EMBEDDED, OLLAMA)["cpu_inference"].endswith("with Ollama")


def test_a_gpu_build_does_not_help_a_processor_that_cannot_run_the_engine():
    assert "gpu_inference" not in roles(machine(cpu=OLD_XEON, gpus=RTX3090), EMBEDDED, embedded_gpu=True)


def test_a_32_bit_pi_stores_and_neither_works_nor_infers():
    assert set(roles(machine(cpu=PI4_32, memory=Memory(4 * GIB, 3 * GIB)), EMBEDDED)) == {"storage"}


def test_a_small_pi_is_too_small_for_everything():
    small = meminfo.parse(text("meminfo_1gb.txt"))
    assert roles(machine(cpu=PI4, memory=small), EMBEDDED) == {}
    assert refusals(machine(cpu=PI4, memory=small), EMBEDDED)["cpu_worker"].startswith("0.9 GiB RAM is less than")


def test_a_full_disk_stores_nothing():
    full = msgspec.structs.replace(SSD, free=2 * GIB)
    roomy = Disk("/data", "/dev/sdb1", "ext4", 900 * GIB, 800 * GIB)
    assert refusals(machine(disks=(full, roomy)))["storage"] == "2.0 GiB free on / is less than 10.0 GiB"
    assert refusals(machine(disks=()))["storage"] == "no disk was found"


def test_where_nothing_says_which_disk_is_ours_the_roomiest_counts():
    small, large = Disk("/a", "a", "ext4", 9, 5), Disk("/b", "b", "ext4", 99, 50)
    assert classify.state_disk((small, large)) == large


def test_the_measured_bandwidth_is_part_of_the_reason():
    cpu = msgspec.structs.replace(M710Q, memory_bandwidth=27.6e9)
    assert "at 28 GB/s" in roles(machine(cpu=cpu), EMBEDDED)["cpu_inference"]


def test_engines_complete_a_report():
    done = classify.with_engines(machine(), (OLLAMA,))
    assert done.engines == (OLLAMA,)
    assert Role("cpu_inference", "4 cores, 7.8 GiB RAM, with Ollama") in done.roles


def test_the_summary_that_travels():
    report = machine(gpus=RTX3090)
    assert classify.summary(report) == HardwareSummary(
        cpu="Intel(R) Core(TM) i5-6500T CPU @ 2.50GHz",
        threads=4,
        physical_cores=4,
        memory_total=EIGHT.total,
        memory_available=EIGHT.available,
        disk_free=120 * GIB,
        gpus=(GpuSummary("nvidia", "NVIDIA GeForce RTX 3090", 24 * GIB, 25291653120),),
    )
