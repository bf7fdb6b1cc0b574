"""The peers as the bench starts them: fair as they are, found out when they are crippled (O9).

Run by `./dev bench` before it measures; needs wrk and the peers, and takes a few seconds.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import app_path
import app_peers
import peers
import pytest
from app_cases import CASES
from fairness import Unfair, Wanted
from measure import LOAD_CORE, SERVER_CORE, Server, load, running


@pytest.fixture
def files(tmp_path: pathlib.Path) -> pathlib.Path:
    # Workers of another user read it.
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    files = tmp_path / "files"
    files.mkdir(mode=0o755)
    (files / "1k.bin").write_bytes(b"x" * 1024)
    return files


def one_round(server: Server, folder: pathlib.Path, core: int = SERVER_CORE) -> int:
    with running([server], core, folder / "servers.log"):
        return load(server, LOAD_CORE, 8, 1, 1, folder).requests


@pytest.mark.parametrize("peer", [peers.nginx, peers.h2o, peers.lighttpd, peers.caddy])
def test_a_peer_as_it_is_set_up_is_fair(
    peer: type[Server], files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert one_round(peer(tmp_path, files, "/1k.bin"), tmp_path) > 100  # type: ignore[arg-type, call-arg]


def test_o9_keep_alive_switched_off_is_found_out(
    files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    server = peers.lighttpd(tmp_path, files, "/1k.bin", keep_alive_requests=0)
    with pytest.raises(Unfair, match="lighttpd"):
        one_round(server, tmp_path)


def test_o9_connections_that_end_in_mid_round_are_found_out(
    files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    server = peers.lighttpd(tmp_path, files, "/1k.bin", keep_alive_requests=50)
    with pytest.raises(Unfair, match=r"lighttpd:\n.*does not keep its connections"):
        one_round(server, tmp_path)


def test_o9_a_misspelt_directive_is_found_out(files: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = peers.lighttpd(tmp_path, files, "/1k.bin", more="server.max-keep-alive = 1\n")
    with pytest.raises(Unfair, match="unknown config-key"):
        one_round(server, tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wanted": Wanted(body=1000)}, "a body of 1024 bytes, not 1000"),
        ({"wanted": Wanted(coding="gzip")}, r"not \(200, 'gzip'\)"),
        ({"logs": True}, "logged 0 lines"),
    ],
)
def test_o9_another_answer_than_the_wanted_is_found_out(
    change: dict[str, object], why: str, files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    server = dataclasses.replace(peers.nginx(tmp_path, files, "/1k.bin"), **change)  # type: ignore[arg-type]
    with pytest.raises(Unfair, match=why):
        one_round(server, tmp_path)


def test_o9_a_log_that_only_one_side_writes_is_found_out(
    files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    server = dataclasses.replace(peers.h2o(tmp_path, files, "/1k.bin", logs=True), logs=False)
    with pytest.raises(Unfair, match="with its logs off"):
        one_round(server, tmp_path)


def test_o9_another_core_is_found_out(files: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(Unfair, match="may run on cores"):
        one_round(peers.nginx(tmp_path, files, "/1k.bin"), tmp_path, core=LOAD_CORE)


@pytest.fixture
def app_server() -> Server:
    """uvicorn as the app bench starts it, from this environment, asked with a body."""
    server = Server(
        "uvicorn",
        lambda port: app_peers.PEERS["uvicorn"].command(sys.executable, "app", port),
        "/hello",
        {"PYTHONPATH": str(app_peers.APPS)},
    )
    return app_path.wanted_by(next(case for case in CASES if case.row == "body"), server)


def test_a_peer_that_is_asked_with_a_body_is_fair(
    app_server: Server, tmp_path: pathlib.Path
) -> None:
    assert one_round(app_server, tmp_path) > 10


def test_o9_an_answer_of_the_same_length_with_other_bytes_is_found_out(
    app_server: Server, tmp_path: pathlib.Path
) -> None:
    wanted = app_server.wanted.content or b""
    other = dataclasses.replace(app_server.wanted, content=wanted.replace(b"37.5", b"37.6"))
    with pytest.raises(Unfair, match=r"uvicorn:\n.*37\.5.*, not b.*37\.6"):
        one_round(dataclasses.replace(app_server, wanted=other), tmp_path)
