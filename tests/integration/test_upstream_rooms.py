"""What else of the sidecar works on a server's answers: files first, the edge cache, limits, what operators see."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import threading

from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, answer, config
from sidecar_process import Sidecar, metric, program


def by_name(served: Served, request: Request) -> None:
    body = f"{request.method} {request.target}".encode()
    data = answer(body)
    served.send(data[: -len(body)] if request.method == "HEAD" else data)


def site(folder: pathlib.Path) -> pathlib.Path:
    root = folder / "site"
    (root / "docs").mkdir(parents=True)
    (root / "bare").mkdir()
    (root / "a.txt").write_text("file")
    (root / ".secret").write_text("secret")
    (root / "docs" / "index.html").write_text("index")
    return root


def test_files_first_without_a_configuration_file(tmp_path: pathlib.Path) -> None:
    with Upstream(by_name) as upstream:
        flags = ("--upstream", upstream.target, "--root", str(site(tmp_path)))
        with Sidecar(tmp_path, arguments=flags) as sidecar, RawConnection(sidecar.port) as client:
            assert client.get("/a.txt").body == b"file"
            assert client.get("/docs/").body == b"index"
            assert client.get("/docs").status == 301
            for path in (
                "/",
                "/none",
                "/a.txt/x",
                "/bare/",
                "/.secret",
                "/a%2Fb",
                "/x/../y",
                "/a.txt?",
            ):
                got = client.get(path)
                if path != "/a.txt?":
                    assert got.body == f"GET {path}".encode(), path
                else:
                    assert got.body == b"file"
            assert client.get("/none", method="HEAD").status == 200
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
                assert client.get("/a.txt", method=method).body == f"{method} /a.txt".encode()
            client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            assert client.read().body == b"GET /a.txt"
            assert upstream.requests[-1].body == b"hi"
            assert client.get("/a.txt").body == b"file"
            series = 'catzilla_http_requests_total{route="<fallback>",method="GET",code="2xx"}'
            assert metric(sidecar, series) >= 8


def test_only_a_server_without_a_configuration_file(tmp_path: pathlib.Path) -> None:
    with Upstream(by_name) as one, Upstream(by_name) as two:
        flags = ("--upstream", f"{one.target},{two.target}")
        with Sidecar(tmp_path, arguments=flags) as sidecar, RawConnection(sidecar.port) as client:
            assert client.get("/").body == b"GET /"
            for _ in range(9):
                client.get("/more")
            assert one.requests and two.requests


def test_a_cache_in_front(tmp_path: pathlib.Path) -> None:
    gate = threading.Event()
    count = [0]

    def script(served: Served, request: Request) -> None:
        count[0] += 1
        if request.target == "/slow":
            gate.wait(20)
        if request.target == "/private":
            served.send(answer(b"%d" % count[0], "200 OK", "Cache-Control: private"))
        elif request.header("if-none-match") == '"v"':
            served.send(
                b'HTTP/1.1 304 Not Modified\r\nETag: "v"\r\nCache-Control: max-age=60\r\n\r\n'
            )
        elif request.target == "/stale":
            served.send(answer(b"stale", "200 OK", "Cache-Control: max-age=0", 'ETag: "v"'))
        elif request.target == "/broken":
            served.send(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nhalf"
            )
            served.close()
        else:
            served.send(answer(b"%d" % count[0], "200 OK", "Cache-Control: max-age=60"))

    text = config("TARGET").replace("pool: web}]", "pool: web, cache: default}]")
    with Upstream(script) as upstream:
        with Sidecar(tmp_path, text.replace("TARGET", upstream.target)) as sidecar:
            with RawConnection(sidecar.port) as client:
                first = client.get("/hit").body
                got = client.get("/hit")
                assert got.body == first
                assert "hit" in (got.header("cache-status") or "")
                assert client.get("/private").body != client.get("/private").body
                assert client.get("/stale").body == b"stale"
                assert client.get("/stale").body == b"stale"
                assert upstream.requests[-1].header("if-none-match") == '"v"'
                before = len(upstream.requests)
                assert client.get("/stale").body == b"stale"
                assert len(upstream.requests) == before
            # Many who want the same cost one request.
            bodies: list[bytes] = []

            def ask() -> None:
                with RawConnection(sidecar.port) as one:
                    bodies.append(one.get("/slow").body)

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            gate.set()
            for thread in threads:
                thread.join()
            assert len([r for r in upstream.requests if r.target == "/slow"]) == 1
            assert len(set(bodies)) == 1
            # What was broken off is not kept.
            for turn in (1, 2):
                with RawConnection(sidecar.port) as client:
                    with contextlib.suppress(EOFError, ConnectionResetError):
                        assert client.get("/broken").status == 502
                assert len([r for r in upstream.requests if r.target == "/broken"]) == turn


def test_limits_are_the_same(tmp_path: pathlib.Path) -> None:
    rest = "limits: {max_body_size: 1KiB, max_response_header: 4KiB}"

    def script(served: Served, request: Request) -> None:
        served.send(answer(b"", "200 OK", "X-A: " + "a" * 8000))

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target, rest=rest)) as sidecar,
    ):
        with RawConnection(sidecar.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
            assert client.read().status == 413
        assert upstream.requests == []
        with RawConnection(sidecar.port) as client:
            assert client.get("/").status == 502


def test_what_operators_see(tmp_path: pathlib.Path) -> None:
    with Upstream() as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:

        def ctl(*words: str) -> str:
            command = [str(program("catzillactl")), "--address", sidecar.control, *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        with RawConnection(sidecar.port) as client:
            client.get("/")
        listed = ctl("worker", "ls")
        line = next(line for line in listed.splitlines() if line.startswith(upstream.target))
        assert line.split()[1:6] == ["web", "up", "0", "1", "1"], line
        assert "pool web: queue 0/1024, in flight 0, websockets 0, requests 1" in listed
        told = json.loads(ctl("worker", "ls", "-o", "json"))
        web = next(pool for pool in told["pools"] if pool["name"] == "web")
        assert web["targets"][0]["target"] == upstream.target
        explained = ctl("explain", "GET", "http://a/x")
        assert "pool web" in explained
        assert upstream.target in explained
        labels = f'pool="web",target="{upstream.target}"'
        assert metric(sidecar, f"catzilla_pool_target_requests_total{{{labels}}}") == 1
        assert metric(sidecar, f"catzilla_pool_target_idle_connections{{{labels}}}") == 1
        assert metric(sidecar, 'catzilla_pool_requests_total{pool="web"}') == 1


def test_a_pool_is_of_workers_or_of_servers(tmp_path: pathlib.Path) -> None:
    text = "pools: [{name: web, hard_timeout: 90s, upstream: {targets: [nonsense]}}]\n"
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    command = [str(program("catzilla-sidecar")), "--config", str(file), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "CZ1124" in done.stderr + done.stdout
    assert "CZ1125" in done.stderr + done.stdout
