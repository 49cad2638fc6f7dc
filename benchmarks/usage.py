"""CPU time and memory of the parts, each with its children."""

from dataclasses import dataclass

import psutil

from coursehub.stack.stack import Stack


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used so far, and memory in bytes; what processes share is counted once among them (PSS)."""

    cpu_seconds: float
    memory_bytes: int


def of_parts(stack: Stack) -> dict[str, Usage]:
    """Measure each part that runs."""
    return {name: of_tree(stack.child(name).pid) for name in stack.runners if psutil.pid_exists(stack.child(name).pid)}


def cpu_between(before: dict[str, Usage], after: dict[str, Usage]) -> dict[str, float]:
    """Give the CPU seconds that each part used in between."""
    return {name: after[name].cpu_seconds - before[name].cpu_seconds for name in after if name in before}


def of_tree(pid: int) -> Usage:
    """Measure a process with all that it started."""
    parent = psutil.Process(pid)
    cpu, memory = 0.0, 0
    for process in (parent, *parent.children(recursive=True)):
        try:
            times = process.cpu_times()
            memory += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        cpu += times.user + times.system
    return Usage(cpu, memory)
