"""What the example does before it serves."""

from __future__ import annotations

import pathlib
import sqlite3
import subprocess
import sys
import time

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
