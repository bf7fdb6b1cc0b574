"""The rows of the app bench that Robyn can do, by hand and with equal answers; the port is $ROBYN_PORT."""

# mypy: allow-untyped-decorators
from __future__ import annotations

from typing import Any

from app_data import Order, total
from robyn import Request, Robyn

app = Robyn(__file__)


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/hello-def")
def hello_def() -> dict[str, str]:
    return {"message": "hello"}


def _params(request: Request) -> Any:
    item_id = int(request.path_params["item_id"])
    q = request.query_params.get("q", "")
    limit = int(request.query_params.get("limit", "10"))
    token = request.headers.get("x-token")
    if not 1 <= len(q) <= 50 or not 1 <= limit <= 100 or token is None:
        return {"detail": "wrong parameters"}, {}, 422
    return {"item_id": item_id, "q": q, "limit": limit, "token": token}


@app.get("/params/:item_id")
async def params(request: Request) -> Any:
    return _params(request)


@app.get("/params-def/:item_id")
def params_def(request: Request) -> Any:
    return _params(request)


@app.post("/body")
async def body(request: Request) -> dict[str, Any]:
    return total(Order.model_validate_json(request.body))


@app.post("/body-def")
def body_def(request: Request) -> dict[str, Any]:
    return total(Order.model_validate_json(request.body))


app.start()
