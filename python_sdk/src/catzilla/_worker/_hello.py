"""HELLO, HELLO_ACK and STATS: who is at the other end of a connection, and how it fares (sections 4.1, 4.2, 4.6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from catzilla._worker._wire import (
    DATA_BYTES_MAX,
    HEAD_BYTES_MAX,
    HELLO_BYTES_MAX,
    LANE_BLOCKING,
    MAGIC,
    PURPOSE_CONTROL,
    PURPOSE_LANE,
    VERSION,
    FrameError,
)

_HELLO: Final = struct.Struct("<IHHIBBH16sQQ32sIIQIIIII4xQQQ8x5I12x")
_ACK: Final = struct.Struct("<HHIIIIIIIQQQIIII")
_STATS: Final = struct.Struct("<QQQIIIIQQ8x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Section 4.1. Times: `start_time_us` and `wall_us` are wall, `monotonic_us` CLOCK_MONOTONIC."""

    purpose: int
    lane_kind: int
    loop_index: int
    token: bytes
    epoch: int
    generation: int
    table_hash: bytes
    pid: int
    worker_index: int
    start_time_us: int
    in_flight_max: int
    stream_window: int
    connection_window: int
    monotonic_us: int
    wall_us: int
    rss_bytes: int
    pool: str
    sdk: str
    python: str
    framework: str
    note: str = ""
    version_min: int = VERSION
    version_max: int = VERSION
    capabilities: int = 0
    head_bytes_max: int = HEAD_BYTES_MAX
    data_bytes_max: int = DATA_BYTES_MAX

    def encode(self) -> bytes:
        """The payload."""
        texts = [t.encode() for t in (self.pool, self.sdk, self.python, self.framework, self.note)]
        ends: list[int] = []
        at = _HELLO.size
        for item in texts:
            at += len(item)
            ends.append(at)
        if at > HELLO_BYTES_MAX or len(self.token) != 16 or len(self.table_hash) != 32:
            raise ValueError("HELLO: its texts are too long, or the token or hash has another size")
        return b"".join((
            _HELLO.pack(
                MAGIC, self.version_min, self.version_max, self.capabilities, self.purpose, self.lane_kind,
                self.loop_index, self.token, self.epoch, self.generation, self.table_hash, self.pid,
                self.worker_index, self.start_time_us, self.in_flight_max, self.stream_window,
                self.connection_window, self.head_bytes_max, self.data_bytes_max, self.monotonic_us,
                self.wall_us, self.rss_bytes, *ends,
            ),
            *texts,
        ))  # fmt: skip

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        if len(payload) < _HELLO.size:
            raise FrameError("HELLO is shorter than its fixed part")
        n = _HELLO.unpack_from(payload)
        if n[0] != MAGIC or not 0 < n[1] <= n[2] or n[4] not in (PURPOSE_LANE, PURPOSE_CONTROL) or n[5] > LANE_BLOCKING:
            raise FrameError("HELLO contradicts itself, or is none")
        a, b, c, d, e = n[22:27]
        if not _HELLO.size <= a <= b <= c <= d <= e == len(payload):
            raise FrameError("HELLO has texts out of order")
        try:
            texts = [payload[x:y].decode() for x, y in ((184, a), (a, b), (b, c), (c, d), (d, e))]
        except UnicodeDecodeError:
            raise FrameError("HELLO has a text that is not UTF-8") from None
        return cls(
            version_min=n[1], version_max=n[2], capabilities=n[3], purpose=n[4], lane_kind=n[5], loop_index=n[6],
            token=n[7], epoch=n[8], generation=n[9], table_hash=n[10], pid=n[11], worker_index=n[12],
            start_time_us=n[13], in_flight_max=n[14], stream_window=n[15], connection_window=n[16],
            head_bytes_max=n[17], data_bytes_max=n[18], monotonic_us=n[19], wall_us=n[20], rss_bytes=n[21],
            pool=texts[0], sdk=texts[1], python=texts[2], framework=texts[3], note=texts[4],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAck:
    """Section 4.2."""

    version: int
    loop_count: int
    capabilities: int
    credits: int
    stream_window: int
    connection_window: int
    head_bytes_max: int
    data_bytes_max: int
    ping_interval_ms: int
    monotonic_us: int
    wall_us: int
    worker_id: int
    lane_id: int
    loop_index: int
    sidecar: str

    def encode(self) -> bytes:
        sidecar = self.sidecar.encode()
        return _ACK.pack(
            self.version, self.loop_count, self.capabilities, self.credits, self.stream_window, self.connection_window,
            self.head_bytes_max, self.data_bytes_max, self.ping_interval_ms, self.monotonic_us, self.wall_us,
            self.worker_id, self.lane_id, self.loop_index, _ACK.size + len(sidecar), 0,
        ) + sidecar  # fmt: skip

    @classmethod
    def decode(cls, payload: bytes) -> HelloAck:
        if len(payload) < _ACK.size:
            raise FrameError("HELLO_ACK is shorter than its fixed part")
        n = _ACK.unpack_from(payload)
        if n[14] != len(payload):
            raise FrameError("HELLO_ACK does not end with its text")
        return cls(
            version=n[0], loop_count=n[1], capabilities=n[2], credits=n[3], stream_window=n[4],
            connection_window=n[5], head_bytes_max=n[6], data_bytes_max=n[7], ping_interval_ms=n[8],
            monotonic_us=n[9], wall_us=n[10], worker_id=n[11], lane_id=n[12], loop_index=n[13],
            sidecar=payload[_ACK.size :].decode("utf-8", "replace"),
        )  # fmt: skip


class Stats(NamedTuple):
    """Section 4.6, in its order."""

    rss_bytes: int
    requests: int
    exceptions: int
    active: int
    detached: int
    loop_lag_us: int
    threads: int
    gc_us: int
    wall_us: int

    def encode(self) -> bytes:
        return _STATS.pack(*self)

    @classmethod
    def decode(cls, payload: bytes) -> Stats:
        if len(payload) != _STATS.size:
            raise FrameError("STATS has another size")
        return cls(*_STATS.unpack(payload))
