from mycoswarm.core.hardware import Cpu
from mycoswarm.hardware.parse import cpuinfo
from mycoswarm.hardware.parse.cpuinfo import Facts
from tests.hardware.recorded import text

SKYLAKE = ("sse4_2", "avx", "avx2", "fma", "f16c", "bmi2")


def test_an_i5_6500t_by_lscpu():
    facts = cpuinfo.lscpu(text("lscpu_i5_6500t.txt"))
    assert cpuinfo.cpu("x86_64", [facts]) == Cpu(
        model="Intel(R) Core(TM) i5-6500T CPU @ 2.50GHz",
        architecture="x86_64",
        physical_cores=4,
        threads=4,
        mhz=2356.706,
        max_mhz=3100.0,
        instruction_sets=SKYLAKE,
    )


def test_a_raspberry_pi_4_by_lscpu_in_the_indented_form():
    facts = cpuinfo.lscpu(text("lscpu_rpi4.txt"))
    assert cpuinfo.cpu("aarch64", [facts]) == Cpu("Cortex-A72", "aarch64", 4, 4, None, 1800.0, ("asimd",))


def test_the_kernel_names_no_64_bit_arm_processor_so_its_part_number_does():
    facts = cpuinfo.cpuinfo(text("cpuinfo_cm4_64bit.txt"))
    cpu = cpuinfo.cpu("aarch64", [facts])
    assert cpu.model == "Cortex-A72 (Raspberry Pi Compute Module 4 Rev 1.1)"
    # /proc/cpuinfo of ARM tells no cores, only threads.
    assert (cpu.physical_cores, cpu.threads, cpu.mhz) == (None, 4, None)
    assert cpu.instruction_sets == ("asimd",)


def test_a_raspberry_pi_4_with_a_32_bit_system():
    facts = cpuinfo.cpuinfo(text("cpuinfo_rpi4_32bit.txt"))
    cpu = cpuinfo.cpu("armv7l", [facts])
    assert (cpu.model, cpu.threads, cpu.instruction_sets) == ("Cortex-A72", 4, ("neon",))


def test_an_i5_6500_by_proc():
    facts = cpuinfo.cpuinfo(text("cpuinfo_i5_6500.txt"))
    cpu = cpuinfo.cpu("x86_64", [facts])
    assert cpu.model == "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz"
    assert (cpu.physical_cores, cpu.threads, cpu.mhz) == (1, 1, 800.024)  # the recording holds one of its four
    assert cpu.instruction_sets == SKYLAKE


def test_a_processor_without_avx():
    cpu = cpuinfo.cpu("x86_64", [cpuinfo.cpuinfo(text("cpuinfo_e5620_last.txt"))])
    assert cpu.model == "Intel(R) Xeon(R) CPU E5620 @ 2.40GHz"
    assert cpu.instruction_sets == ("sse4_2",)


def test_cores_are_counted_over_sockets_and_not_over_threads():
    two_sockets = [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    facts = cpuinfo.kernel([*two_sockets, *two_sockets], {})
    assert (facts.physical_cores, facts.threads) == (4, 8)


def test_frequencies_are_the_fastest_cores_in_mhz():
    khz = {"scaling_cur_freq": ["800000\n", "3200000\n"], "cpuinfo_max_freq": ["3600000\n", "<unknown>\n"]}
    facts = cpuinfo.kernel([], khz)
    assert (facts.mhz, facts.max_mhz, facts.physical_cores) == (3200.0, 3600.0, None)


def test_of_several_sources_the_first_that_knows_wins():
    cpu = cpuinfo.cpu("x86_64", [Facts(threads=8), Facts(model="A", threads=4, max_mhz=1.5)])
    assert (cpu.model, cpu.threads, cpu.max_mhz) == ("A", 8, 1.5)


def test_nothing_known_is_said_and_not_guessed():
    assert cpuinfo.cpu("riscv64", [cpuinfo.cpuinfo(""), cpuinfo.lscpu("")], threads=2) == Cpu(
        "riscv64 processor", "riscv64", None, 2, None, None
    )
