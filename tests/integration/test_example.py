"""What the example does before it serves."""

from __future__ import annotations

import json
import pathlib
import sqlite3
import subprocess
import sys
import time

import pytest
from app_process import AppProcess

SHOP = pathlib.Path(__file__).resolve().parents[2] / "python_sdk" / "examples" / "shop"
PREPARE = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import catalogue
time.sleep(max(float(sys.argv[3]) - time.time(), 0))
catalogue.prepare(pathlib.Path(sys.argv[2]))
"""


def test_workers_that_start_together_prepare_one_database(tmp_path: pathlib.Path) -> None:
    for attempt in range(5):
        database = tmp_path / f"{attempt}" / "shop.sqlite3"
        begin = str(time.time() + 1.5)
        command = [sys.executable, "-c", PREPARE, str(SHOP), str(database), begin]
        workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(6)]
        for worker in workers:
            _, said = worker.communicate(timeout=60)
            assert worker.returncode == 0, said.decode()
        with sqlite3.connect(database) as opened:
            assert opened.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert opened.execute("SELECT count(*) FROM product").fetchone()[0] > 5


SHOP_APP = """
import os, sys
os.environ["SHOP_DATABASE"] = os.path.abspath("shop.sqlite3")
sys.path.insert(0, {folder!r})
from shop import app
"""
ORDER = {
    "customer": "A large cat",
    "email": "cat@example.org",
    "address": "Tokyo Bay, pier 3",
    "lines": [{"slug": "tuna-meteor", "quantity": 1}],
}


@pytest.mark.skipif(not (SHOP / "assets").is_dir(), reason="the shop's assets are not installed")
def test_the_handbook_is_for_who_has_bought_something(tmp_path: pathlib.Path) -> None:
    handbook = (SHOP / "files" / "owners-handbook.txt").read_bytes()
    body = json.dumps(ORDER).encode()
    with AppProcess(tmp_path, SHOP_APP.format(folder=str(SHOP))) as app, app.connect() as client:
        client.send(
            b"POST /api/orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        order = json.loads(client.read().body)["id"]
        path = f"/api/orders/{order}/handbook?email="
        assert client.get(path + "cat@example.org").body == handbook
        assert client.get(path + "CAT@example.org", "Range: bytes=0-20").body == handbook[:21]
        assert client.get(path + "dog@example.org").status == 403
        assert client.get(path.removesuffix("?email=")).status == 422
