"""Everything public that FastAPI has is there under our name, and is the same object."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import warnings
from importlib import import_module

import fastapi
import pytest

import catzilla

# FastAPI's own command: ours is `catzilla`.
LEFT_OUT = {"fastapi.__main__", "fastapi.cli"}
# What is not the same object, because it is ours.
OURS = {("fastapi", "FastAPI"), ("fastapi.applications", "FastAPI")}

MODULES = ["fastapi"] + [
    module.name
    for module in pkgutil.walk_packages(fastapi.__path__, "fastapi.")
    if module.name not in LEFT_OUT and not any(part.startswith("_") for part in module.name.split("."))
]


def ours(name: str) -> str:
    return "catzilla" + name.removeprefix("fastapi")


def public(name: str) -> list[str]:
    """Names, and not those modules that happen to be imported there."""
    module = import_module(name)
    return [
        attribute
        for attribute, value in vars(module).items()
        if not attribute.startswith("_") and (type(value) is not type(fastapi) or attribute == "status")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_the_same_object(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FastAPI has deprecated some of its modules itself.
        theirs, mine = import_module(name), import_module(ours(name))
    missing = [
        attribute
        for attribute in public(name)
        if (name, attribute) not in OURS and getattr(mine, attribute, None) is not getattr(theirs, attribute)
    ]
    assert missing == []


def test_the_walk_has_found_something() -> None:
    assert len(MODULES) > 40
    assert {"JSONResponse", "StreamingResponse"} <= set(public("fastapi.responses"))


def test_fastapi_is_catzilla() -> None:
    from catzilla.applications import FastAPI

    assert catzilla.FastAPI is catzilla.Catzilla is FastAPI
    assert issubclass(catzilla.FastAPI, fastapi.FastAPI)


def test_replacing_the_name_in_the_imports_is_the_migration() -> None:
    source = """
from typing import Annotated
from fastapi import Depends, FastAPI, HTTPException, Security, status
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic
from fastapi.testclient import TestClient
import fastapi.encoders

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"])

@app.get("/items/{item_id}", status_code=status.HTTP_202_ACCEPTED)
def read(item_id: int, who: Annotated[object, Depends(HTTPBasic())]):
    if not item_id:
        raise HTTPException(418)
    return JSONResponse(fastapi.encoders.jsonable_encoder({"id": item_id}))

client = TestClient(app)
assert client.get("/items/1").status_code == 401
assert client.get("/items/0", auth=("a", "b")).status_code == 418
assert client.get("/items/7", auth=("a", "b")).json() == {"id": 7}
print(type(app).__name__)
"""
    run = subprocess.run(
        [sys.executable, "-c", source.replace("fastapi", "catzilla")], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout) == (0, "Catzilla\n"), run.stderr


def test_the_command_imports_none_of_them() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import sys, catzilla._cli; print('fastapi' in sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "False\n", run.stderr
