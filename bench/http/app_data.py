"""What the routes of the app bench take and give, for every framework alike: plain data and pydantic models."""

from __future__ import annotations

import itertools
import os
import pathlib
import tempfile
from typing import Annotated, Any

from pydantic import BaseModel, Field


class Order(BaseModel):
    """A body with a constraint on each field."""

    sku: Annotated[str, Field(min_length=3, max_length=32, pattern=r"^[a-z]+-\d+$")]
    quantity: Annotated[int, Field(ge=1, le=1000)]
    price: Annotated[float, Field(gt=0)]
    note: Annotated[str | None, Field(max_length=200)] = None


class Product(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]
    active: bool


PLAIN_PRODUCTS: list[dict[str, Any]] = [
    {
        "id": number,
        "name": f"product {number}",
        "price": number + 0.5,
        "tags": ["new", "sale"],
        "active": number % 2 == 0,
    }
    for number in range(50)
]
PRODUCTS = [Product(**plain) for plain in PLAIN_PRODUCTS]


def total(order: Order) -> dict[str, Any]:
    return {"sku": order.sku, "total": order.price * order.quantity}


FILE_CONTENT = bytes(range(256)) * 4096  # 1 MiB


def file_path() -> pathlib.Path:
    """The same for all contenders, and in the page cache."""
    path = pathlib.Path(tempfile.gettempdir()) / "catzilla-bench-1MiB.bin"
    if not path.exists() or path.stat().st_size != len(FILE_CONTENT):
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(FILE_CONTENT)
        fresh.rename(path)
    return path


SLEEP_SECONDS = 0.05
_calls = itertools.count(1)


def must_sleep() -> bool:
    """True for 0.2 % of the calls."""
    return next(_calls) % 500 == 0
