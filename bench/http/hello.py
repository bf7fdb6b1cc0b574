"""The smallest FastAPI app, for every server that can run one."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/hello-def")
def hello_def() -> dict[str, str]:
    return {"message": "hello"}
