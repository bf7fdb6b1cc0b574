"""The Catzilla shop: provisions for the very large cat.

    catzilla run shop:app --workers 2

The sidecar serves everything under public/ and assets/ by itself, answers the report from its
cache, and wakes Python only for the rest of /api. Under plain uvicorn the same file works, without
the cache.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import catalogue
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.sse import EventSourceResponse, ServerSentEvent

from catzilla import (
    BaseModel,
    Catzilla,
    Depends,
    Field,
    FileResponse,
    HTMLResponse,
    HTTPException,
    Query,
    Request,
    Response,
    StreamingResponse,
    WebSocket,
    WebSocketDisconnect,
    cache,
    status,
)

HERE = Path(__file__).resolve().parent
DATABASE = Path(os.environ.get("SHOP_DATABASE", HERE / "var" / "shop.sqlite3"))
LOOK_SECONDS = 0.3  # How often a live page's worker looks for what others have sold.
REPORT_SECONDS = 0.7  # How long the accountant thinks. The cache is there for people like her.

Category = Literal["demolition", "toys", "snacks", "naps"]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")]


# What goes over the wire...


class Product(BaseModel):
    slug: str
    name: str
    category: Category
    price_cents: int
    stock: int
    rating: float
    blurb: str
    image: str


class ProductPage(BaseModel):
    items: list[Product]
    total: int
    page: int
    size: int


class OrderLine(BaseModel):
    slug: Slug
    quantity: int = Field(ge=1, le=20)


class NewOrder(BaseModel):
    customer: str = Field(min_length=2, max_length=80)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=120)
    address: str = Field(min_length=5, max_length=200)
    note: str | None = Field(default=None, max_length=200)
    lines: list[OrderLine] = Field(min_length=1, max_length=12)


class OrderedLine(BaseModel):
    slug: str
    name: str
    quantity: int
    price_cents: int


class Order(BaseModel):
    id: UUID
    number: int
    placed_at: datetime
    customer: str
    address: str
    note: str | None
    lines: list[OrderedLine]
    total_cents: int


class CategorySales(BaseModel):
    category: Category
    sold: int
    revenue_cents: int


class BestSeller(BaseModel):
    slug: str
    name: str
    sold: int


class Report(BaseModel):
    days: int
    generated_at: datetime
    generated_by_pid: int
    took_ms: int
    revenue_cents: int
    categories: list[CategorySales]
    best_sellers: list[BestSeller]


# The app...


@asynccontextmanager
async def lifespan(app: Catzilla) -> AsyncIterator[None]:
    catalogue.prepare(DATABASE)
    yield


app = Catzilla(
    title="Catzilla Shop",
    version="1.0.0",
    summary="Provisions for the very large cat.",
    lifespan=lifespan,
    docs_url=None,  # Ours is below: the same page with assets from here instead of a CDN.
    redoc_url=None,
)


def database() -> Iterator[sqlite3.Connection]:
    with closing(catalogue.connect(DATABASE)) as connection:
        yield connection


Database = Annotated[sqlite3.Connection, Depends(database)]


def product_of(row: sqlite3.Row) -> Product:
    return Product(**row, image=f"/img/{row['slug']}.svg")


@app.get("/api/products", tags=["catalogue"])
def list_products(
    db: Database,
    q: Annotated[str | None, Query(max_length=60, description="words to look for")] = None,
    category: Category | None = None,
    max_price: Annotated[int | None, Query(ge=0, description="in cents")] = None,
    sort: Literal["featured", "price", "-price", "rating"] = "featured",
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
    size: Annotated[int, Query(ge=1, le=50)] = 12,
) -> ProductPage:
    """The catalogue, filtered, sorted and in pages."""
    order = {"featured": "rowid", "price": "price_cents", "-price": "price_cents DESC"}.get(sort, "rating DESC")
    where = (
        "(:q IS NULL OR name LIKE :like OR blurb LIKE :like) AND (:category IS NULL OR"
        " category = :category) AND (:max_price IS NULL OR price_cents <= :max_price)"
    )
    values = {"q": q, "like": f"%{q}%", "category": category, "max_price": max_price}
    total = db.execute(f"SELECT COUNT(*) FROM product WHERE {where}", values).fetchone()[0]
    rows = db.execute(
        f"SELECT * FROM product WHERE {where} ORDER BY {order}, slug LIMIT :size OFFSET :skip",
        {**values, "size": size, "skip": (page - 1) * size},
    ).fetchall()
    return ProductPage(items=[product_of(row) for row in rows], total=total, page=page, size=size)


@app.get("/api/products/{slug}", tags=["catalogue"])
def get_product(slug: str, db: Database) -> Product:
    row = db.execute("SELECT * FROM product WHERE slug = ?", (slug,)).fetchone()
    if row is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"no product named {slug}")
    return product_of(row)


@app.get("/api/catalogue.csv", tags=["catalogue"], response_class=StreamingResponse)
def download_catalogue(db: Database) -> StreamingResponse:
    """The whole catalogue as a spreadsheet, streamed row by row."""
    rows = db.execute("SELECT slug, name, category, price_cents, stock FROM product").fetchall()

    def lines() -> Iterator[str]:
        for row in [("slug", "name", "category", "price_cents", "stock"), *map(tuple, rows)]:
            line = io.StringIO()
            csv.writer(line).writerow(row)
            yield line.getvalue()

    return StreamingResponse(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="catzilla-catalogue.csv"'},
    )


@app.get("/api/guide", tags=["catalogue"], response_class=FileResponse)
def download_guide() -> FileResponse:
    """The demolition safety guide, a file to keep."""
    return FileResponse(
        HERE / "files" / "demolition-safety-guide.txt",
        media_type="text/plain; charset=utf-8",
        filename="demolition-safety-guide.txt",
    )


@app.post("/api/orders", tags=["orders"], status_code=status.HTTP_201_CREATED)
def place_order(new: NewOrder, request: Request, response: Response, db: Database) -> Order:
    """Buys something. 422 says what is wrong with the order, 409 what is sold out."""
    wanted: dict[str, int] = {}
    for line in new.lines:
        wanted[line.slug] = wanted.get(line.slug, 0) + line.quantity
    try:
        order_id = catalogue.place_order(db, (new.customer, new.email, new.address, new.note), wanted)
    except catalogue.UnknownProduct as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    except catalogue.OutOfStock as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from error
    response.headers["Location"] = request.app.url_path_for("get_order", order_id=order_id)
    return get_order(UUID(order_id), db)


@app.get("/api/orders/{order_id}", tags=["orders"])
def get_order(order_id: UUID, db: Database) -> Order:
    found = catalogue.find_order(db, str(order_id))
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such order")
    return Order.model_validate(found)


@app.get("/api/orders/{order_id}/handbook", tags=["orders"], response_class=FileResponse)
def download_handbook(
    order_id: UUID,
    email: Annotated[str, Query(max_length=120, description="as in the order")],
    db: Database,
) -> FileResponse:
    """The owner's handbook, for who has bought something. We decide who gets it, the sidecar sends it."""
    if not catalogue.is_buyer(db, str(order_id), email):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "the handbook goes to who has placed the order")
    return FileResponse(
        HERE / "files" / "owners-handbook.txt",
        media_type="text/plain; charset=utf-8",
        filename="owners-handbook.txt",
    )


@app.websocket("/api/orders/live")
async def live_orders(socket: WebSocket, last: Annotated[int, Query(ge=1, le=50)] = 8) -> None:
    """The last orders as one list, then each as it is placed, by whichever worker."""
    await socket.accept()
    gone = asyncio.create_task(socket.receive())  # Nothing is expected but the end.
    with closing(catalogue.connect(DATABASE)) as db, suppress(WebSocketDisconnect):
        seen = await asyncio.to_thread(catalogue.newest_sale, db)
        before = await asyncio.to_thread(catalogue.sales_after, db, seen - last)
        await socket.send_json([sale.__dict__ for sale in before if sale.number <= seen])
        while not gone.done():
            for sale in await asyncio.to_thread(catalogue.sales_after, db, seen):
                seen = sale.number
                await socket.send_json(sale.__dict__)
            await asyncio.wait([gone], timeout=LOOK_SECONDS)
    gone.cancel()


@app.get("/api/report", tags=["counter"])
@cache(ttl=30, tags=["report"])
def sales_report(response: Response, db: Database, days: Annotated[int, Query(ge=1, le=365)] = 30) -> Report:
    """Sales of the last days. Slow on purpose: the sidecar keeps the answer for 30 seconds."""
    started = time.monotonic()
    now = datetime.now(UTC)
    since = now - timedelta(days=days)
    categories = [CategorySales(**row) for row in catalogue.sales_by_category(db, since)]
    best_sellers = [BestSeller(**row) for row in catalogue.best_sellers(db, since)]
    time.sleep(REPORT_SECONDS)
    # Shared caches may keep it, browsers must ask again: a purge is seen by everyone at once.
    response.headers["Cache-Control"] = "public, max-age=0, s-maxage=30"
    return Report(
        days=days,
        generated_at=now,
        generated_by_pid=os.getpid(),
        took_ms=round((time.monotonic() - started) * 1000),
        revenue_cents=sum(row.revenue_cents for row in categories),
        categories=categories,
        best_sellers=best_sellers,
    )


@app.get("/api/ticker", tags=["counter"], response_class=EventSourceResponse)
async def ticker(
    interval: Annotated[float, Query(ge=0.05, le=10, description="seconds")] = 1.0,
    limit: Annotated[int | None, Query(ge=1, le=10_000, description="ticks, then stop")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What happens in the shop, as server-sent events: `order` when somebody buys, `tick` else."""
    with closing(catalogue.connect(DATABASE)) as db:
        seen = await asyncio.to_thread(catalogue.newest_sale, db)
        ticks = 0
        while True:
            for sale in await asyncio.to_thread(catalogue.sales_after, db, seen):
                seen = sale.number
                yield ServerSentEvent(event="order", id=str(sale.number), data=sale.__dict__)
            yield ServerSentEvent(
                event="tick",
                data={"at": datetime.now(UTC).isoformat(timespec="seconds"), "orders": seen},
            )
            ticks += 1
            if ticks == limit:
                return
            await asyncio.sleep(interval)


@app.get("/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=f"{app.title} API",
        swagger_js_url="/assets/swagger-ui/swagger-ui-bundle.js",
        swagger_css_url="/assets/swagger-ui/swagger-ui.css",
        swagger_favicon_url="/img/favicon.svg",
    )


# The front end. Last, so that under plain ASGI the routes above are asked first.
app.mount_static("/assets", HERE / "assets")
app.mount_static("/", HERE / "public")
