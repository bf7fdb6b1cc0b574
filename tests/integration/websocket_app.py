"""What the WebSocket tests serve: under catzilla, and under uvicorn for comparison."""

import asyncio
import json

from catzilla import Catzilla, Request, WebSocket, WebSocketDisconnect

app = Catzilla()
seen: list[object] = []


@app.get("/seen")
def what_was_seen() -> list[object]:
    return seen


@app.get("/hello")
def hello() -> str:
    return "hello"


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                seen.append({k: v for k, v in message.items() if k != "type"})
                return
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"])
            else:
                await socket.send_text(message["text"])
    except WebSocketDisconnect as error:
        seen.append({"raised": error.code})


@app.get("/both")
def both_http() -> str:
    return "http"


@app.websocket("/both")
async def both_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("socket")
    await socket.close(4001, "done")


@app.websocket("/rooms/{room}/{seat:int}")
async def room(socket: WebSocket, room: str, seat: int, token: str | None = None) -> None:
    await socket.accept(subprotocol="chat", headers=[(b"x-room", room.encode())])
    await socket.send_json({"room": room, "seat": seat, "token": token})
    await socket.close()


# Frameworks put more into a scope.
OF_THE_SERVER = (
    *(
        "type",
        "asgi",
        "http_version",
        "scheme",
        "server",
        "client",
        "root_path",
        "path",
        "raw_path",
    ),
    *("query_string", "headers", "subprotocols", "state", "extensions"),
)


@app.websocket("/scope")
async def scope(socket: WebSocket) -> None:
    await socket.accept()
    shown = {key: value for key, value in socket.scope.items() if key in OF_THE_SERVER}
    shown["client"] = shown["client"][0]
    await socket.send_text(json.dumps(shown, default=repr, sort_keys=True))
    await socket.close()


@app.websocket("/refuse")
async def refuse(socket: WebSocket) -> None:
    await socket.close(4003, "no")


@app.websocket("/deny")
async def deny(socket: WebSocket) -> None:
    from starlette.responses import JSONResponse

    await socket.send_denial_response(JSONResponse({"no": "entry"}, 418, {"x-why": "tea"}))


@app.websocket("/raise-early")
async def raise_early(socket: WebSocket) -> None:
    raise RuntimeError("before accept")


@app.websocket("/raise-late")
async def raise_late(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    raise RuntimeError("after accept")


@app.websocket("/return-early")
async def return_early(socket: WebSocket) -> None:
    return


@app.websocket("/return-late")
async def return_late(socket: WebSocket) -> None:
    await socket.accept()


@app.websocket("/wrong-states")
async def wrong_states(socket: WebSocket) -> None:
    """Past Starlette's own checks: what the server itself says."""
    send = socket._send
    told: list[list[object]] = []

    async def attempt(message: dict[str, object]) -> None:
        try:
            await send(message)
        except Exception as error:
            told.append([type(error).__name__, str(error)])
        else:
            told.append(["sent", message["type"]])

    await attempt({"type": "websocket.send", "text": "too early"})
    await attempt({"type": "websocket.accept"})
    await attempt({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(told)})
    await attempt({"type": "websocket.close", "code": 1000})
    await attempt({"type": "websocket.send", "text": "too late"})
    seen.append(told[3:])


@app.websocket("/slow")
async def slow(socket: WebSocket) -> None:
    """Reads nothing until it is told over HTTP."""
    await socket.accept()
    await release.wait()
    count = 0
    while (await socket.receive_text()) != "end":
        count += 1
    await socket.send_text(str(count))
    await socket.close()


release = asyncio.Event()


@app.get("/release")
async def let_go() -> str:
    release.set()
    return "released"


@app.websocket("/flood")
async def flood(socket: WebSocket) -> None:
    await socket.accept()
    sent = 0
    try:
        while True:
            await socket.send_bytes(b"f" * 65536)
            sent += 1
            flooded["count"] = sent
    except Exception as error:
        seen.append({"flood": type(error).__name__})


flooded = {"count": 0}


@app.get("/flooded")
def how_flooded() -> int:
    return flooded["count"]


@app.post("/echo")
async def posted(request: Request) -> str:
    return request.headers.get("upgrade", "none")


@app.websocket("/work-on")
async def work_on(socket: WebSocket) -> None:
    """Has something to do when its client has gone."""
    await socket.accept()
    await socket.receive()
    await release.wait()
    seen.append({"worked": "on"})
