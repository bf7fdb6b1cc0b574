"""The public package, mount_static under plain ASGI, listen(), loading, and what each process imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastapi
import pytest
from fastapi.testclient import TestClient

import catzilla
from catzilla import Catzilla, ConfigurationError
from catzilla._exceptions import AppLoadError
from catzilla._load import load_app


def test_every_public_name_is_there() -> None:
    for name in catzilla.__all__:
        assert getattr(catzilla, name) is not None
    assert dir(catzilla) == sorted(catzilla.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        catzilla.nonsense  # noqa: B018


def test_everything_that_fastapi_exports_is_exported() -> None:
    names = {n for n, v in vars(fastapi).items() if not n.startswith("_") and not isinstance(v, type(sys))}
    names |= {"status"}
    assert names <= set(catzilla.__all__)
    assert all(getattr(catzilla, name) is getattr(fastapi, name) for name in names - {"FastAPI"})


def _python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_the_master_never_imports_fastapi() -> None:
    code = "import catzilla, catzilla._cli, catzilla._master._supervisor, catzilla._worker._main, sys;"
    assert _python(code + "print('fastapi' in sys.modules, 'grpc' in sys.modules)") == "False True"


def test_workers_never_import_grpc() -> None:
    code = "import catzilla._worker._main, catzilla._master._zygote, catzilla._routing, catzilla._app, sys;"
    assert _python(code + "print(sorted(m for m in sys.modules if m.split('.')[0] in ('grpc', 'google')))") == "[]"


# mount_static without a sidecar...


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<p>index</p>")
    (tmp_path / "a.txt").write_text("0123456789")
    (tmp_path / "page.cat").write_text("meow")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("sub")
    (tmp_path / "bare").mkdir()
    (tmp_path / ".secret").write_text("s")
    (tmp_path / ".well-known").mkdir()
    (tmp_path / ".well-known" / "x").write_text("known")
    (tmp_path / "link.txt").symlink_to("a.txt")
    return tmp_path


def client(site: Path, path: str = "/static", **options: Any) -> TestClient:
    app = Catzilla()
    app.mount_static(path, site, **options)
    return TestClient(app, follow_redirects=False)


PLAIN: list[tuple[str, dict[str, Any], str, int, str]] = [
    ("a file", {}, "/static/a.txt", 200, "0123456789"),
    ("the index", {}, "/static/", 200, "<p>index</p>"),
    ("a folder's index", {}, "/static/sub/", 200, "sub"),
    ("a folder without its slash", {}, "/static/sub", 301, ""),
    ("a folder without index", {}, "/static/bare/", 404, '{"detail":"Not Found"}'),
    ("no index wanted", {"index_file": ""}, "/static/", 404, '{"detail":"Not Found"}'),
    ("another index", {"index_file": "a.txt"}, "/static/", 200, "0123456789"),
    ("nothing", {}, "/static/none", 404, '{"detail":"Not Found"}'),
    ("a dotfile", {}, "/static/.secret", 404, '{"detail":"Not Found"}'),
    ("a dotfile, wanted", {"hidden_files": True}, "/static/.secret", 200, "s"),
    ("well-known", {}, "/static/.well-known/x", 200, "known"),
    ("a link", {}, "/static/link.txt", 200, "0123456789"),
    ("a link, refused", {"symlinks": "never"}, "/static/link.txt", 404, '{"detail":"Not Found"}'),
    ("outside", {}, "/static/..%2f..%2fetc/passwd", 400, '{"detail":"Bad Request"}'),
]


@pytest.mark.parametrize(("what", "options", "path", "status", "body"), PLAIN, ids=[row[0] for row in PLAIN])
def test_static_files_under_plain_asgi(site: Path, what: str, options: Any, path: str, status: int, body: str) -> None:
    answer = client(site, **options).get(path)
    assert (answer.status_code, answer.text) == (status, body)


def test_every_option_shows_under_plain_asgi(site: Path) -> None:
    plain = client(site).get("/static/a.txt").headers
    assert {"etag", "last-modified"} <= set(plain)
    changed = client(
        site, etags=False, last_modified=False, cache_control="max-age=9", headers={"X-A": "1"},
        mime_types={"txt": "text/cat"},
    ).get("/static/a.txt").headers  # fmt: skip
    assert not {"etag", "last-modified"} & set(changed)
    assert (changed["cache-control"], changed["x-a"], changed["content-type"]) == ("max-age=9", "1", "text/cat")
    part = {"Range": "bytes=0-1"}
    assert client(site).get("/static/a.txt", headers=part).text == "01"
    assert client(site, ranges=False).get("/static/a.txt", headers=part).text == "0123456789"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("static", "."), "does not begin with '/'"),
        (("/static", "no-such-folder"), "not a directory"),
    ],
)
def test_a_bad_mount_is_refused_where_it_is_written(arguments: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        Catzilla().mount_static(*arguments)


def test_a_name_is_taken_once(site: Path) -> None:
    app = Catzilla()
    app.mount_static("/a/b", site)
    with pytest.raises(ConfigurationError, match="'a-b' is taken"):
        app.mount_static("/a-b", site)
    app.mount_static("/a-b", site, name="other")


# listen()...


def test_listen_becomes_catzilla_run(tmp_path: Path) -> None:
    (tmp_path / "fake").write_text("#!/bin/sh\nexit 7\n")
    os.chmod(tmp_path / "fake", 0o755)
    (tmp_path / "site.py").write_text(
        "from catzilla import Catzilla\nmine = Catzilla()\n"
        "if __name__ == '__main__':\n    mine.listen(port=1, workers=2)\n"
    )
    environment = {**os.environ, "CATZILLA_SIDECAR": str(tmp_path / "fake")}
    result = subprocess.run(
        [sys.executable, tmp_path / "site.py"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert result.returncode == 7
    assert "the sidecar exited with 7 before it served" in result.stderr


def test_listen_inside_a_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATZILLA_WORKER", "1")
    with pytest.raises(ConfigurationError, match="__main__"):
        Catzilla().listen()


# Loading...


def _load(tmp_path: Path, source: str, target: str = "loaded:app") -> Any:
    (tmp_path / "loaded.py").write_text(source)
    sys.modules.pop("loaded", None)
    try:
        return load_app(target, str(tmp_path))
    finally:
        sys.path.remove(str(tmp_path))


def test_a_module_and_a_file_can_be_loaded(tmp_path: Path) -> None:
    source = "from catzilla import Catzilla\napp = other = Catzilla()\n"
    assert isinstance(_load(tmp_path, source), Catzilla)
    assert isinstance(_load(tmp_path, source, "loaded"), Catzilla)
    assert isinstance(_load(tmp_path, source, f"{tmp_path}/loaded.py:other"), Catzilla)


@pytest.mark.parametrize(
    ("source", "target", "match", "details"),
    [
        ("", "nowhere:app", "no module 'nowhere'", ""),
        ("", "/nowhere.py:app", "no file /nowhere.py", ""),
        ("x = 1", "loaded:app", "no 'app'", ""),
        ("from catzilla import Catzilla\nsite = Catzilla()", "loaded:app", "it has .*site", ""),
        ("app = 5", "loaded:app", "int, not an ASGI app", ""),
        ("import nothing_like_it", "loaded:app", "ModuleNotFoundError", "import nothing_like_it"),
        ("1/0", "loaded:app", "ZeroDivisionError", "1/0"),
        ("def", "loaded:app", "SyntaxError", "def"),
        ("raise SystemExit(3)", "loaded:app", "SystemExit: 3", ""),
        (
            "from catzilla import *\napp = Catzilla()\n@app.post('/')\n@cache(ttl=1)\ndef f(): ...\n",
            "loaded:app", "only GET", "",
        ),
    ],
)  # fmt: skip
def test_a_failed_import_says_why(tmp_path: Path, source: str, target: str, match: str, details: str) -> None:
    with pytest.raises(AppLoadError, match=match) as caught:
        _load(tmp_path, source, target)
    assert details in caught.value.details
    assert "importlib" not in caught.value.details
