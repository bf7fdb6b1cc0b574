"""What an endpoint finds in its scope, and puts onto its exit stacks; for the differential of the lanes."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from fastapi.responses import PlainTextResponse
from starlette.background import BackgroundTask


class Teapot(Exception):
    pass


def stacks(app: FastAPI, log: list[str], connection: Any, session: Any) -> None:
    """With two dependencies that are generators: one for a thread, one for the loop."""

    def on_stacks(request: Request) -> Iterator[None]:
        for name in ("inner", "function", "middleware"):
            request.scope[f"fastapi_{name}_astack"].callback(log.append, f"{name} of a dependency")
        yield
        log.append("dependency behind its callbacks")

    async def later(what: str) -> None:
        log.append(what)

    def with_stacks(request: Request, fail: bool, between: Any) -> Any:
        for name in ("inner", "function", "middleware"):
            request.scope[f"fastapi_{name}_astack"].push_async_callback(later, f"{name} of the endpoint")
        if fail:
            raise Teapot("with stacks")
        found = request.scope["starlette.exception_handlers"][0]
        return sorted(kind.__name__ for kind in found), list(log)

    @app.get("/stacks/async")
    async def stacks_async(
        request: Request,
        a: Annotated[None, Depends(on_stacks)],
        b: Annotated[str, Depends(session)],
        fail: bool = False,
        plain: bool = False,
    ) -> Any:
        said = with_stacks(request, fail, b)
        return PlainTextResponse("plain", background=BackgroundTask(log.append, "task")) if plain else said

    @app.get("/stacks/def")
    def stacks_def(
        request: Request,
        a: Annotated[None, Depends(on_stacks)],
        b: Annotated[int, Depends(connection)],
        fail: bool = False,
    ) -> Any:
        return with_stacks(request, fail, b)

    @app.get("/stacks/solve")
    async def solve(request: Request, n: int = 1) -> Any:
        found = get_dependant(path="/x", call=connection)
        solved = await solve_dependencies(
            request=request,
            dependant=get_dependant(path="/x", call=lambda v=Depends(session), c=Depends(connection): None),
            async_exit_stack=request.scope["fastapi_inner_astack"],
            embed_body_fields=False,
        )
        return [found.name, solved.values, list(log)]
