"""The shop's data: products, orders and sales history in one SQLite file.

Every worker process opens the same file; SQLite's own locking keeps them honest. Nothing here knows
about HTTP.
"""

from __future__ import annotations

import fcntl
import random
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE product (
  slug TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price_cents INTEGER NOT NULL,
  stock INTEGER NOT NULL CHECK (stock >= 0), rating REAL NOT NULL, blurb TEXT NOT NULL
);
CREATE TABLE purchase (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, placed_at TEXT NOT NULL,
  customer TEXT NOT NULL, email TEXT NOT NULL, address TEXT NOT NULL, note TEXT
);
CREATE TABLE purchase_line (
  purchase INTEGER NOT NULL REFERENCES purchase (number),
  slug TEXT NOT NULL REFERENCES product (slug),
  quantity INTEGER NOT NULL CHECK (quantity > 0), price_cents INTEGER NOT NULL,
  PRIMARY KEY (purchase, slug)
);
"""

PRODUCTS: list[tuple[str, str, str, int, int, float, str]] = [
    ("cardboard-tokyo", "Cardboard Tokyo", "demolition", 14900, 12, 4.9,
     "Flat-packed city at 1:100. Folds up in an hour, comes down in a minute."),
    ("scratch-tower", "Scratch Tower 9000", "demolition", 32900, 5, 4.7,
     "Forty storeys of sisal on a steel core. Rated for claws up to two metres."),
    ("power-line-yarn", "Power-Line Yarn", "toys", 2900, 80, 4.6,
     "Hums softly. Insulated, mostly. Two kilometres to the ball."),
    ("laser-moon", "Laser Moon", "toys", 8900, 18, 4.8,
     "Projects one red dot onto the actual moon. The chase of a lifetime."),
    ("wind-up-tanks", "Wind-up Tanks", "toys", 3900, 40, 4.4,
     "A dozen tin tanks that drive, beep and flee. Batteries would be unfair."),
    ("tuna-meteor", "Tuna Meteor", "snacks", 1900, 150, 4.9,
     "Re-entry seared outside, sashimi within. Serves one, where one is large."),
    ("commuter-crunch", "Commuter Crunch", "snacks", 1450, 200, 4.3,
     "Ten little train carriages of baked salmon. Always on time for breakfast."),
    ("milk-volcano", "Milk Volcano", "snacks", 5900, 9, 4.5,
     "A fountain that erupts at feeding time. Dishwasher-safe to the crater."),
    ("catnip-reactor", "Catnip Reactor", "snacks", 7900, 7, 5.0,
     "Slow release over eighty years. Please do not open the containment lid."),
    ("portable-sunbeam", "Portable Sunbeam", "naps", 11900, 14, 4.8,
     "Follows the sleeper through the day and never goes behind a building."),
    ("harbour-bed", "Harbour Bed", "naps", 24900, 4, 4.9,
     "A retired ferry with a mattress. Rocks gently, smells faintly of fish."),
    ("purr-megaphone", "Purr Megaphone", "naps", 4900, 25, 4.2,
     "For when the whole prefecture should know that you are comfortable."),
]  # fmt: skip


class OutOfStock(Exception):
    """Fewer are left than were asked for."""

    def __init__(self, slug: str, left: int) -> None:
        super().__init__(f"only {left} of {slug} left")
        self.slug = slug
        self.left = left


class UnknownProduct(Exception):
    """There is no product with this slug."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"no product named {slug}")
        self.slug = slug


@dataclass(frozen=True)
class Sale:
    """One order as the ticker tells it: enough to be fun, nothing about the customer."""

    number: int
    placed_at: str
    item: str
    quantity: int
    total_cents: int


def connect(path: Path) -> sqlite3.Connection:
    # Handlers and dependencies may run on different threads of one request, never at the same time.
    connection = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    # IMMEDIATE takes the write lock before the stock is read: no item is sold twice.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def prepare(path: Path) -> None:
    """Creates and fills the file unless another worker already has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Workers start at the same time, and SQLite waits for nobody while a file becomes WAL.
    with open(path.with_suffix(".lock"), "w") as alone, closing(connect(path)) as connection:
        fcntl.flock(alone, fcntl.LOCK_EX)
        connection.execute("PRAGMA journal_mode = WAL")
        with transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
                return
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.executemany("INSERT INTO product VALUES (?, ?, ?, ?, ?, ?, ?)", PRODUCTS)
            _write_history(connection)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _write_history(connection: sqlite3.Connection) -> None:
    """A season of sales, the same for everyone, so that the report has something to say."""
    dice = random.Random(1954)
    now = datetime.now(UTC)
    for day in range(90, 0, -1):
        for _ in range(dice.randint(1, 6)):
            placed_at = now - timedelta(days=day, seconds=dice.randint(0, 86_399))
            chosen = dice.sample(PRODUCTS, dice.randint(1, 3))
            _insert_order(
                connection,
                order_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
                placed_at=placed_at,
                buyer=("A large cat", "cat@example.org", "Tokyo Bay", None),
                lines=[(row[0], dice.randint(1, 4), row[3]) for row in chosen],
            )


def _insert_order(
    connection: sqlite3.Connection,
    *,
    order_id: str,
    placed_at: datetime,
    buyer: tuple[str, str, str, str | None],
    lines: Iterable[tuple[str, int, int]],
) -> None:
    number = connection.execute(
        "INSERT INTO purchase (id, placed_at, customer, email, address, note) VALUES (?, ?, ?, ?, ?, ?)",
        (order_id, placed_at.isoformat(timespec="seconds"), *buyer),
    ).lastrowid
    connection.executemany("INSERT INTO purchase_line VALUES (?, ?, ?, ?)", [(number, *line) for line in lines])


def place_order(
    connection: sqlite3.Connection,
    buyer: tuple[str, str, str, str | None],
    wanted: dict[str, int],
) -> str:
    """Takes the goods off the shelf and writes the order: all of it or nothing."""
    order_id = str(uuid.uuid4())
    with transaction(connection):
        lines: list[tuple[str, int, int]] = []
        for slug, quantity in wanted.items():
            row = connection.execute("SELECT stock, price_cents FROM product WHERE slug = ?", (slug,)).fetchone()
            if row is None:
                raise UnknownProduct(slug)
            if row["stock"] < quantity:
                raise OutOfStock(slug, row["stock"])
            connection.execute("UPDATE product SET stock = stock - ? WHERE slug = ?", (quantity, slug))
            lines.append((slug, quantity, row["price_cents"]))
        _insert_order(connection, order_id=order_id, placed_at=datetime.now(UTC), buyer=buyer, lines=lines)
    return order_id


def find_order(connection: sqlite3.Connection, order_id: str) -> dict[str, object] | None:
    order = connection.execute("SELECT * FROM purchase WHERE id = ?", (order_id,)).fetchone()
    if order is None:
        return None
    lines = connection.execute(
        "SELECT l.slug, p.name, l.quantity, l.price_cents FROM purchase_line l"
        " JOIN product p USING (slug) WHERE l.purchase = ? ORDER BY p.name",
        (order["number"],),
    ).fetchall()
    return {
        **{key: order[key] for key in ("id", "number", "placed_at", "customer", "address", "note")},
        "lines": [dict(line) for line in lines],
        "total_cents": sum(line["quantity"] * line["price_cents"] for line in lines),
    }


def is_buyer(connection: sqlite3.Connection, order_id: str, email: str) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM purchase WHERE id = ? AND email = ? COLLATE NOCASE", (order_id, email)
        ).fetchone()
        is not None
    )


def sales_after(connection: sqlite3.Connection, number: int) -> list[Sale]:
    rows = connection.execute(
        "SELECT o.number, o.placed_at, p.name AS item, SUM(l.quantity) AS quantity,"
        " SUM(l.quantity * l.price_cents) AS total_cents FROM purchase o"
        " JOIN purchase_line l ON l.purchase = o.number JOIN product p USING (slug)"
        " WHERE o.number > ? GROUP BY o.number ORDER BY o.number LIMIT 100",
        (number,),
    ).fetchall()
    return [Sale(**row) for row in rows]


def newest_sale(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COALESCE(MAX(number), 0) FROM purchase").fetchone()[0])


def sales_by_category(connection: sqlite3.Connection, since: datetime) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT p.category, SUM(l.quantity) AS sold,"
        " SUM(l.quantity * l.price_cents) AS revenue_cents FROM purchase o"
        " JOIN purchase_line l ON l.purchase = o.number JOIN product p USING (slug)"
        " WHERE o.placed_at >= ? GROUP BY p.category ORDER BY revenue_cents DESC",
        (since.isoformat(timespec="seconds"),),
    ).fetchall()


def best_sellers(connection: sqlite3.Connection, since: datetime) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT p.slug, p.name, SUM(l.quantity) AS sold FROM purchase o"
        " JOIN purchase_line l ON l.purchase = o.number JOIN product p USING (slug)"
        " WHERE o.placed_at >= ? GROUP BY p.slug ORDER BY sold DESC, p.name LIMIT 3",
        (since.isoformat(timespec="seconds"),),
    ).fetchall()
