"""How many of the requests for many files a small cache answers, beside simulations of the same requests.

10,000 files of lognormal size, asked for with a Zipf popularity, and a cache of a tenth of their bytes. The
requests are HEAD on one pipelined connection: what is measured is the cache, not the kernel's copying.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import pathlib
import random
import re
import socket
import urllib.request

import chart
import peers
from measure import Server, free_port, running

FILES = 10_000
REQUESTS = 400_000
EXPONENT = 0.9
WINDOW = 64
# What an entry takes beside its bytes: its heads, its key, and what the allocator rounds up.
OVERHEAD = 1024


def sizes(seed: random.Random) -> list[int]:
    return [min(int(seed.lognormvariate(9.0, 1.0)), 1 << 20) for _ in range(FILES)]


def requests(seed: random.Random) -> list[int]:
    """Which file, request by request; the popularity has nothing to do with the size."""
    weights = list(itertools.accumulate(1 / (rank + 1) ** EXPONENT for rank in range(FILES)))
    order = list(range(FILES))
    seed.shuffle(order)
    total = weights[-1]
    return [order[bisect.bisect(weights, seed.random() * total)] for _ in range(REQUESTS)]


def lru(trace: list[int], bytes_of: list[int], most: int) -> float:
    held: collections.OrderedDict[int, None] = collections.OrderedDict()
    used = hits = 0
    for key in trace:
        if key in held:
            held.move_to_end(key)
            hits += 1
            continue
        held[key] = None
        used += bytes_of[key]
        while used > most:
            used -= bytes_of[held.popitem(last=False)[0]]
    return hits / len(trace)


def s3_fifo(trace: list[int], bytes_of: list[int], most: int) -> float:
    """S3-FIFO (Yang et al., SOSP 2023), its queues measured in bytes: a tenth of them for newcomers."""
    small: collections.deque[int] = collections.deque()
    main: collections.deque[int] = collections.deque()
    ghosts: collections.OrderedDict[int, None] = collections.OrderedDict()
    uses: dict[int, int] = {}
    used = {"small": 0, "main": 0}
    ghost_bytes = hits = 0
    for key in trace:
        if key in uses:
            uses[key] = min(uses[key] + 1, 3)
            hits += 1
            continue
        uses[key] = 0
        if key in ghosts:
            del ghosts[key]
            ghost_bytes -= bytes_of[key]
            main.append(key)
            used["main"] += bytes_of[key]
        else:
            small.append(key)
            used["small"] += bytes_of[key]
        while used["small"] + used["main"] > most:
            if used["small"] > most // 10 or not main:
                old = small.popleft()
                used["small"] -= bytes_of[old]
                if uses[old] > 0:
                    uses[old] = 0
                    main.append(old)
                    used["main"] += bytes_of[old]
                else:
                    del uses[old]
                    ghosts[old] = None
                    ghost_bytes += bytes_of[old]
                    while ghost_bytes > most:
                        ghost_bytes -= bytes_of[ghosts.popitem(last=False)[0]]
            else:
                old = main.popleft()
                if uses[old] > 0:
                    uses[old] -= 1
                    main.append(old)
                else:
                    used["main"] -= bytes_of[old]
                    del uses[old]
    return hits / len(trace)


def replay(server: Server, trace: list[int]) -> None:
    """Sends the requests, `WINDOW` at a time, and waits for as many answers."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        for begin in range(0, len(trace), WINDOW):
            window = trace[begin : begin + WINDOW]
            raw.sendall(b"".join(b"HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n" % key for key in window))
            seen, rest = 0, b""
            while seen < len(window):
                rest += raw.recv(1 << 18)
                seen += rest.count(b"\r\n\r\n")
                rest = rest[rest.rfind(b"\r\n\r\n") + 4 :] if b"\r\n\r\n" in rest else rest


def counted(ops_port: int) -> tuple[int, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{ops_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = dict(re.findall(r'static_lookups_total\{mount="files",result="(\w+)"\} (\d+)', text))
    return int(found["hit"]), int(found["miss"])


def hit_ratio(folder: pathlib.Path, drawing: pathlib.Path) -> list[tuple[str, str]]:
    seed = random.Random(20231023)
    bytes_of = sizes(seed)
    trace = requests(seed)
    files = folder / "files"
    files.mkdir(parents=True)
    for key, size in enumerate(bytes_of):
        (files / str(key)).write_bytes(b"x" * size)
    charged = [size + OVERHEAD for size in bytes_of]
    most = sum(bytes_of) // 10
    ops = free_port()
    more = f"limits: {{file_cache_memory: {most}B}}\n"
    # Misses are opened by threads: one request at a time keeps the order that is simulated.
    server = peers.catzilla(
        folder, files, "/0", more=more, mount=", invalidation: ttl, revalidate: 1h", ops_port=ops
    )
    with running([server], 0, folder / "servers.log"):
        replay(server, trace)
        hits, misses = counted(ops)
    ratios = {
        "catzilla": hits / (hits + misses),
        "simulated S3-FIFO, by bytes": s3_fifo(trace, charged, most),
        "simulated LRU, by bytes": lru(trace, charged, most),
    }
    assert hits + misses == REQUESTS, (hits, misses)
    title = (
        f"Hit ratio: Zipf {EXPONENT}, {FILES:,} files, cache of 10 % of {sum(bytes_of) >> 20} MiB"
    )
    chart.write(drawing, title, "percent", {"": {k: v * 100 for k, v in ratios.items()}})
    lines = ["| cache | hit ratio |", "| --- | ---: |"]
    lines += [f"| {name} | {ratio * 100:.2f} % |" for name, ratio in ratios.items()]
    return [(f"{title}, {REQUESTS:,} requests", "\n".join(lines))]
