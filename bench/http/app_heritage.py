"""The rows of the app bench for the package that PyPI has under our name; the port is its argument."""

# mypy: allow-untyped-decorators
# Its validation reads annotations as they stand: none of them may be put off.
import importlib
import sys
from typing import Any

# By name: a type checker of this tree would find ours.
theirs: Any = importlib.import_module("catzilla")

# "production: if True, return clean JSON error responses"; the others are for development.
app = theirs.Catzilla(production=True, show_banner=False, log_requests=False)


class Order(theirs.BaseModel):  # type: ignore[misc]
    sku: str = theirs.Field(min_length=3, max_length=32, regex=r"^[a-z]+-\d+$")
    quantity: int = theirs.Field(ge=1, le=1000)
    price: float = theirs.Field(gt=0)
    note: str | None = theirs.Field(None, max_length=200)


@app.get("/hello")
async def hello(request: theirs.Request) -> theirs.Response:
    return theirs.JSONResponse({"message": "hello"})


@app.get("/hello-def")
def hello_def(request: theirs.Request) -> theirs.Response:
    return theirs.JSONResponse({"message": "hello"})


@app.get("/params/{item_id}")
async def params(
    request: theirs.Request,
    item_id: int = theirs.Path(...),
    q: str = theirs.Query(..., min_length=1, max_length=50),
    limit: int = theirs.Query(10, ge=1, le=100),
    x_token: str = theirs.Header(..., alias="X-Token"),
) -> theirs.Response:
    return theirs.JSONResponse({"item_id": item_id, "q": q, "limit": limit, "token": x_token})


@app.get("/params-def/{item_id}")
def params_def(
    request: theirs.Request,
    item_id: int = theirs.Path(...),
    q: str = theirs.Query(..., min_length=1, max_length=50),
    limit: int = theirs.Query(10, ge=1, le=100),
    x_token: str = theirs.Header(..., alias="X-Token"),
) -> theirs.Response:
    return theirs.JSONResponse({"item_id": item_id, "q": q, "limit": limit, "token": x_token})


@app.post("/body")
async def body(request: theirs.Request, order: Order) -> theirs.Response:
    return theirs.JSONResponse({"sku": order.sku, "total": order.price * order.quantity})


@app.post("/body-def")
def body_def(request: theirs.Request, order: Order) -> theirs.Response:
    return theirs.JSONResponse({"sku": order.sku, "total": order.price * order.quantity})


app.listen(port=int(sys.argv[1]), host="127.0.0.1")
