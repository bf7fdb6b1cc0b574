"""Datasette, with a small database: pages, JSON, a streamed CSV, its own static files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from datasette.app import Datasette

DATABASE = Path("shop.db")


def prepare() -> None:
    with sqlite3.connect(DATABASE) as made:
        made.execute(
            "create table goods (id integer primary key, name text, shelf text, price real)"
        )
        rows = [(f"thing <{n}>", ("toys", "naps", "tea")[n % 3], n / 4) for n in range(250)]
        made.executemany("insert into goods (name, shelf, price) values (?, ?, ?)", rows)


app = Datasette(
    files=[str(DATABASE)],
    secret="a secret of the tests",
    settings={"num_sql_threads": 2, "default_page_size": 20},
).app()
