"""Types that json.dumps() tells otherwise than FastAPI: classes of their own test, gone with it."""

import asyncio
import dataclasses
import enum
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from lane_harness import plain, serving

from catzilla._compile._types import misleading_type


@pytest.fixture
def values() -> Iterator[dict[str, Any]]:
    assert misleading_type() is None

    class Renamed(str, enum.Enum):  # noqa: UP042
        ONE = "one", "first"

        def __new__(cls, text: str, value: str) -> Any:
            made = str.__new__(cls, text)
            made._value_ = value
            return made

    class Renumbered(enum.IntEnum):
        ONE = 1

        def __new__(cls, number: int) -> Any:
            made = int.__new__(cls, number)
            made._value_ = number * 100
            return made

    class Truth(int, enum.Enum):
        YES = True

    class Own(str, enum.Enum):  # noqa: UP042
        A = "a"

        @property
        def value(self) -> str:
            return "own"

    @dataclasses.dataclass
    class Titled(dict):  # type: ignore[type-arg]
        title: str = "t"

    class Doubled(list):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            for one in super().__iter__():
                yield from (one, one)

    Plain = enum.StrEnum("Plain", "A B")
    yield {
        "renamed": {"v": [Renamed.ONE], Renamed.ONE: 1},
        "renumbered": (Renumbered.ONE, {"deep": {Renumbered.ONE}}),
        "truth": Truth.YES,
        "own": Own.A,
        "dataclass": {"d": Titled("x")},
        "doubled": Doubled([1, {"a": None}]),
        "plain": {"v": Plain.B, "flag": enum.IntFlag("Flag", "X Y")(3)},
        "simple": {"a": [1, 2.5, None, True, "é"], "nan": 1e300},
        "nan": float("nan"),
        "loop": None,
    }
    del Renamed, Renumbered, Truth, Own, Titled, Doubled, Plain


def test_values_are_told_as_fastapi_tells_them(tmp_path: Path, values: dict[str, Any]) -> None:
    app = FastAPI()
    told = dict(values)
    told["loop"] = loop = []  # type: ignore[var-annotated]
    loop.append(loop)

    @app.get("/{name}")
    async def tell(name: str) -> Any:
        return told[name]

    async def main(lanes: bool) -> list[Any]:
        async with serving(tmp_path, app, lanes=lanes) as client:
            if lanes:
                assert await client.lane_of("GET", "/renamed") == "fast"
            return [plain(await client.ask("GET", f"/{name}")) for name in told]

    assert asyncio.run(main(False)) == asyncio.run(main(True))


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    gc.collect()
