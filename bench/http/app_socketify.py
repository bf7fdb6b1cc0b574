"""The rows of the app bench that socketify can do, by hand and with equal answers; the port is its argument."""

from __future__ import annotations

import sys
from typing import Any

import orjson
from app_data import Order, total
from socketify import App

# "Pre allocated instances of Response and Request objects for socketify interface [default: 0]": with some, a handler
# that is no coroutine gives its response back before a body has come, and the request is never answered.
app = App()
# Until its body is there nothing else holds a response: without this the process ends with a fatal error.
reading: set[Any] = set()


# "By wrapping the call in res.cork or res.cork_end you make sure these three send functions are efficient"; a handler
# is corked by itself up to its first await.
def send(response: Any, answer: Any, status: bytes = b"200 OK") -> None:
    # "Socketify by default uses built-in json": another one's bytes are equal to FastAPI's, and made faster.
    response.send(orjson.dumps(answer), content_type=b"application/json", status=status)


async def hello(response: Any, request: Any) -> None:
    send(response, {"message": "hello"})


def hello_def(response: Any, request: Any) -> None:
    send(response, {"message": "hello"})


def params_def(response: Any, request: Any) -> None:
    item_id = int(request.get_parameter(0))
    q = request.get_query("q") or ""
    limit = int(request.get_query("limit") or "10")
    token = request.get_header("x-token")
    if not 1 <= len(q) <= 50 or not 1 <= limit <= 100 or token is None:
        send(response, {"detail": "wrong parameters"}, b"422 Unprocessable Entity")
        return
    answer = {"item_id": item_id, "q": q, "limit": limit, "token": token}
    send(response, answer)


async def params(response: Any, request: Any) -> None:
    params_def(response, request)


async def body(response: Any, request: Any) -> None:
    reading.add(response)
    order = Order.model_validate_json((await response.get_data()).getvalue())
    reading.discard(response)
    response.cork_send(orjson.dumps(total(order)), content_type=b"application/json")


def body_def(response: Any, request: Any) -> None:
    pieces: list[bytes] = []
    reading.add(response)

    def take(response: Any, piece: bytes | None, is_end: bool) -> None:
        if piece is not None:
            pieces.append(piece)
        if is_end:
            reading.discard(response)
            send(response, total(Order.model_validate_json(b"".join(pieces))))

    response.on_data(take)


app.get("/hello", hello)
app.get("/hello-def", hello_def)
app.get("/params/:item_id", params)
app.get("/params-def/:item_id", params_def)
app.post("/body", body)
app.post("/body-def", body_def)
app.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"})
app.run()
