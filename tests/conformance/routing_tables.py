"""Route tables and requests, on which the sidecar and an app together must answer as the app alone does.

Each table is the body of a module with `app`; `R(path, methods)` adds a route that says its number in the table.
"""

from __future__ import annotations

import random

PRELUDE = """
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles

app = FastAPI(openapi_url=None)
count = 0

def R(path, methods=("GET",), on=None, **more):
    global count
    count += 1
    number = count
    from starlette.requests import Request
    async def endpoint(request: Request):
        return PlainTextResponse(f"{number} {sorted(request.path_params.items())}")
    (on or app).add_api_route(path, endpoint, methods=list(methods), **more)

def S(number):
    async def endpoint(request):
        return PlainTextResponse(f"sub {number} {request.scope['path']} {request.scope['root_path']}")
    return endpoint
"""

# What is asked of every table, beside what its own paths suggest.
COMMON = [
    ("GET", "/"),
    ("GET", "//"),
    ("GET", "/nowhere"),
    ("POST", "/nowhere/"),
    ("GET", "/%2F"),
    ("GET", "/a%2Fb"),
    ("GET", "/caf%C3%A9"),
    ("GET", "/%E9"),
    ("BREW", "/a"),
]

TABLES: dict[str, tuple[str, list[str]]] = {
    "literals": (
        "R('/'); R('/a'); R('/a/b'); R('/a', ['POST']); R('/a/b/', ['PUT']); R('/case')",
        ["/a", "/a/", "/a/b", "/a/b/", "/a//b", "/case", "/case/", "/case//", "/A", "/a?x=1"],
    ),
    "first wins": (
        "R('/items/{x}'); R('/items/me'); R('/items/{y}', ['POST']); R('/items/{z}/more', ['DELETE'])",
        [
            "/items/me",
            "/items/7",
            "/items/",
            "/items",
            "/items/a/more",
            "/items/a/more/",
            "/items/a%2Fb",
        ],
    ),
    "partial before full": (
        "R('/x/{a}', ['POST']); R('/x/{b}', ['PUT']); R('/x/me', ['GET']); R('/{c:path}', ['PATCH'])",
        ["/x/me", "/x/you", "/x", "/x/me/", "/x/me/deep"],
    ),
    "convertors": (
        "R('/i/{n:int}'); R('/i/{s}'); R('/f/{n:float}'); R('/u/{n:uuid}'); R('/p/{rest:path}'); R('/p/{rest:path}/end')",
        [
            *(
                "/i/7",
                "/i/-7",
                "/i/007",
                "/i/x",
                "/i/7.5",
                "/f/7",
                "/f/7.5",
                "/f/7.",
                "/f/x",
                "/p/",
                "/p",
            ),
            *(
                "/p/a/b/c",
                "/p/a/end",
                "/u/123e4567-e89b-12d3-a456-426614174000",
                "/u/123E4567",
                "/i/99999999999999999999",
            ),
        ],
    ),
    "suffixes": (
        "R('/files/{name}.{ext}'); R('/files/{name}'); R('/v{major:int}.{minor:int}'); R('/@{user}/-/{repo}')",
        [
            "/files/a.b",
            "/files/a.b.c",
            "/files/.b",
            "/files/a.",
            "/files/a",
            "/v1.2",
            "/v1.x",
            "/@me/-/r",
            "/@/-/r",
        ],
    ),
    "routers": (
        """
one = APIRouter(prefix='/one'); two = APIRouter(prefix='/two')
R('/a', on=one); R('', on=one); R('/{x}', ['POST', 'GET'], on=two); R('/', on=two)
one.include_router(two, prefix='/in'); app.include_router(one); app.include_router(two)
""",
        [
            "/one",
            "/one/",
            "/one/a",
            "/one/a/",
            "/one/in/two/x",
            "/one/in/two/",
            "/one/in/two",
            "/two/x",
            "/two",
            "/two/",
        ],
    ),
    "mounts": (
        """
R('/sub/before'); R('/sub/post', ['POST'])
app.mount('/sub', Starlette(routes=[Route('/', S(1)), Route('/before', S(2)), Route('/post', S(3)), Route('/x/{y}', S(4))]))
R('/sub/after'); R('/other')
app.mount('/{tenant}/deep', Starlette(routes=[Route('/z', S(5))]))
""",
        [
            *(
                "/sub",
                "/sub/",
                "/sub/before",
                "/sub/post",
                "/sub/after",
                "/sub/x/1",
                "/sub/x/1/",
                "/subway",
            ),
            *("/acme/deep/z", "/acme/deep", "/acme/deep/q", "/other", "/other/"),
        ],
    ),
    "mount at the root": (
        "R('/api/a'); R('/api/{x}', ['POST']); app.mount('/', Starlette(routes=[Route('/{p:path}', S(1))])); R('/late')",
        ["/api/a", "/api/b", "/late", "/anything/at/all", "/api/a/", "/api"],
    ),
    "no slashes": (
        "app.router.redirect_slashes = False; R('/a'); R('/b/'); R('/c/{x}')",
        ["/a", "/a/", "/b", "/b/", "/c/1", "/c/1/", "/c/"],
    ),
    "methods": (
        "R('/m', ['GET', 'HEAD']); R('/n', ['OPTIONS']); R('/o', ['GET']); R('/o', ['DELETE', 'PUT']); R('/p/{x}', ['TRACE'])",
        ["/m", "/n", "/o", "/p/1", "/m/", "/o/"],
    ),
    "unicode and escapes": (
        "R('/café'); R('/a b'); R('/{x}/ü'); R('/100%'); R('/plus+plus'); R('/semi;colon')",
        [
            *(
                "/caf%C3%A9",
                "/caf%c3%a9",
                "/a%20b",
                "/a+b",
                "/z/%C3%BC",
                "/100%25",
                "/plus+plus",
                "/plus%2Bplus",
            ),
            *("/semi;colon", "/semi%3Bcolon", "/caf%C3%A9/"),
        ],
    ),
    "a host's own": (
        "app.router.routes.append(Host('api.test', Starlette(routes=[Route('/h', S(1))]))); R('/h'); R('/i')",
        ["/h", "/i", "/h/"],
    ),
}

_SEGMENTS = ["a", "b", "{x}", "{y}", "{n:int}", "{rest:path}", "a.{x}", "me"]
_METHODS = [["GET"], ["POST"], ["GET", "POST"], ["PUT"], ["GET"]]
_FILLERS = ["a", "b", "me", "7", "a.b", "x%2Fy", ""]


def random_table(seed: int) -> tuple[str, list[str]]:
    chosen = random.Random(seed)
    lines, paths = [], []
    for _ in range(chosen.randint(4, 9)):
        names = iter("pqrstuvw")
        segments = []
        for _ in range(chosen.randint(1, 4)):
            segment = chosen.choice(_SEGMENTS)
            for old in ("x", "y", "n", "rest"):
                if f"{{{old}" in segment:
                    segment = segment.replace(f"{{{old}", f"{{{next(names)}")
            segments.append(segment)
        path = "/" + "/".join(segments) + chosen.choice(["", "", "", "/"])
        lines.append(f"R({path!r}, {chosen.choice(_METHODS)!r})")
    for _ in range(24):
        paths.append("/" + "/".join(chosen.choice(_FILLERS) for _ in range(chosen.randint(1, 5))))
    return "\n".join(lines), paths


def cases() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """name -> (module, requests)."""
    tables = dict(TABLES)
    for seed in range(6):
        tables[f"random {seed}"] = random_table(seed)
    found = {}
    for name, (body, paths) in tables.items():
        requests = list(COMMON)
        for path in paths:
            requests += [(method, path) for method in ("GET", "POST")]
            requests += [
                (method, path) for method in ("HEAD", "OPTIONS", "PUT") if len(path) % 3 == 0
            ]
        found[name] = (f"{PRELUDE}\n{body}\n", requests)
    return found
