"""What the WebSocket bench serves: a FastAPI app, the same for all."""

from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.get("/hello")
async def hello() -> str:
    return "hello"


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
