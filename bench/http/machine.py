"""What the kernel says about the processes of a contender, and about the machine."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import re
import stat
import subprocess
import time

import network

PROC = pathlib.Path("/proc")


def process_tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, []))
    return sorted(found)


def cpu_seconds(root: int) -> float:
    """Time on a CPU, user and system, of the process and its descendants, with the threads that have ended."""
    nanoseconds = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError):
            # clock_getcpuclockid(3), which Python does not have: the number of a process's CPU clock.
            nanoseconds += time.clock_gettime_ns((~pid << 3) | 2)
    return nanoseconds / 1e9


def cores(root: int) -> set[str]:
    """The cores that the threads of the process and its descendants may run on."""
    found = set()
    for pid in process_tree(root):
        for task in (PROC / str(pid) / "task").glob("*"):
            with contextlib.suppress(OSError):
                line = re.search(r"Cpus_allowed_list:\s*(\S+)", (task / "status").read_text())
                found.add(line.group(1) if line else "unknown")
    return found


def rss_mib(root: int) -> float:
    pages = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError, IndexError):
            pages += int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def files_written(root: int) -> dict[str, int]:
    """The regular files that the process and its descendants hold open for writing, and their sizes."""
    found = {}
    for pid in process_tree(root):
        for link in (PROC / str(pid) / "fd").glob("*"):
            with contextlib.suppress(OSError):
                about = link.stat()
                text = (PROC / str(pid) / "fdinfo" / link.name).read_text()
                flags = re.search(r"flags:\s*([0-7]+)", text)
                writes = flags is not None and int(flags.group(1), 8) & os.O_ACCMODE != os.O_RDONLY
                if stat.S_ISREG(about.st_mode) and writes:
                    found[str(link.readlink())] = about.st_size
    return found


def passive_opens() -> int:
    """Connections that were accepted in this network namespace, ever."""
    names, values = [
        line.split()
        for line in (PROC / "net" / "snmp").read_text().splitlines()
        if line.startswith("Tcp:")
    ]
    return int(values[names.index("PassiveOpens")])


def cpu_model() -> str:
    found = re.search(r"model name\s*:\s*(.+)", (PROC / "cpuinfo").read_text())
    return found.group(1).strip() if found else platform.machine()


def commit(folder: pathlib.Path) -> str:
    """Which state of the tree is measured."""
    told = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=10"],
        capture_output=True,
        text=True,
    )
    return told.stdout.strip() or "unknown"


def load_average() -> float:
    """How many programs wanted a core, on average of the last minute."""
    return float((PROC / "loadavg").read_text().split()[0])


def description() -> str:
    """One line about the machine, for a table."""
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"TCP {network.congestion_control()}"
    )
