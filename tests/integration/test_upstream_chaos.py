"""A server that does everything wrong, many clients that come and go: no answer is ever another request's."""

from __future__ import annotations

import contextlib
import pathlib
import random
import threading

from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, answer, config
from sidecar_process import Sidecar, metric
from waiting import eventually

CLIENTS = 6
REQUESTS = 120


def misbehave(served: Served, request: Request) -> None:
    kind = random.Random(request.target).randrange(12)
    body = request.target.encode()
    if kind == 0:
        served.reset()
    elif kind == 1:
        served.close()
    elif kind == 2:
        served.send(answer(body)[:-3])
        served.close()
    elif kind == 3:
        served.send(answer(body) + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    elif kind == 4:
        # Just as the next request may be on its way. (More bytes after a while would be that one's
        # answer, if it is: see docs/reverse-proxy.md.)
        served.send(answer(body))
        served.close()
    elif kind == 5:
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil")
    elif kind == 6:
        for byte in answer(body):
            served.send(bytes([byte]))
    elif kind == 7:
        served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        served.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    elif kind == 8:
        served.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        served.close()
    else:
        served.send(answer(body))


def ask(sidecar: Sidecar, number: int, wrong: list[str]) -> None:
    chance = random.Random(number)
    client = RawConnection(sidecar.port)
    for i in range(REQUESTS):
        path = f"/{number}/{i}"
        method = chance.choice(["GET", "GET", "POST", "PUT"])
        try:
            if chance.randrange(8) == 0:
                # It leaves before it is answered.
                client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                client.close()
                client = RawConnection(sidecar.port)
                continue
            got = client.get(path, method=method)
            if got.status == 200 and got.body != path.encode():
                wrong.append(f"{path}: {got.body!r}")
            elif got.status not in (200, 502):
                wrong.append(f"{path}: {got.status}")
        except (EOFError, ConnectionError):
            client.close()
            client = RawConnection(sidecar.port)
    client.close()


def test_no_answer_is_ever_anothers(tmp_path: pathlib.Path) -> None:
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Upstream(misbehave)) for _ in range(2)]
        options = {"upstream": "max_connections: 4", "pool": "queue_timeout: 20s,"}
        text = config(*(server.target for server in servers), **options)
        sidecar = stack.enter_context(Sidecar(tmp_path, text))
        threads = [threading.Thread(target=ask, args=(sidecar, n, wrong)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        eventually(lambda: metric(sidecar, 'catzilla_pool_in_flight{pool="web"}') == 0)
        assert metric(sidecar, 'catzilla_pool_queue_depth{pool="web"}') == 0
