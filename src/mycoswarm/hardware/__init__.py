"""What this machine is: the report behind `detect`, and the parts the machine can play because of it.

    tools, /proc, /sys ──▶ probe [io] ──text, values──▶ parse (pure) ──▶ Cpu, Gpu, Disk… ──▶ detect [io] ──▶ Report
                           bounded [io]                 wheels (pure)                        classify (pure) ──▶ roles
                           measure [io]

Flows in: text of system tools and kernel files, a measured memory bandwidth; the engines found, from the composition
root. Flows out: `core.hardware.Report` with warnings, `HardwareSummary` for the node's record, the reason why the
embedded engine cannot run here.

Rules of this package:
- whatever reads or runs something says `[io]`; everything under `parse/`, `classify` and `wheels` is pure and is tested
  on outputs recorded in public;
- a probe raises `Fixable` (one sentence, what to do) or returns; `detect` makes a warning of it and goes on;
- nothing waits longer than 5 s: commands are killed with their process group, blocking calls sit in daemon threads that
  are abandoned, so that a hung driver can neither stop the report nor keep the process from ending;
- the driver's library (NVML) is only ever loaded in a child process: it hangs and aborts with broken drivers;
- nothing is guessed: what the system does not tell is None.
"""
