"""The control plane over TCP with certificates on both sides: who is let in, and what the others are told."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from sidecar_process import Sidecar, free_port, program

USAGE, UNREACHABLE = 2, 7


def openssl(*arguments: str | pathlib.Path) -> None:
    made = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr


class Authority:
    """A CA in a folder of its own, made with the openssl command."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.certificate = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
        """Certificate and key, good for 127.0.0.1 and for clients."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        openssl(
            *("x509", "-req", "-days", "2", "-in", request, "-out", certificate),
            *("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-extfile", extensions),
        )
        return certificate, key


class Guarded:
    """A sidecar whose TCP control listener wants certificates of `ours`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.ours = Authority(folder, "ours")
        self.other = Authority(folder, "other")
        self.address = f"127.0.0.1:{free_port()}"
        certificate, key = self.ours.issue("server")
        self.sidecar = Sidecar(
            folder,
            f"""
control:
  tcp_address: {self.address}
  tls: {{cert_file: {certificate}, key_file: {key}, client_ca_file: {self.ours.certificate}}}
""",
        )

    def ctl(self, *options: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
        """`catzillactl status` over TCP."""
        return subprocess.run(
            [program("catzillactl"), "--address", self.address, *options, "status"],
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("tls"))
    with made.sidecar:
        yield made


def test_a_certificate_of_the_ca_is_let_in(guarded: Guarded) -> None:
    certificate, key = guarded.ours.issue("client")
    ca = guarded.ours.certificate
    told = guarded.ctl("--tls-ca", ca, "--tls-cert", certificate, "--tls-key", key)
    assert told.returncode == 0, told.stderr
    assert str(guarded.sidecar.pid) in told.stdout
    assert told.stderr == ""


def test_everybody_else_stays_outside_and_is_told_why(guarded: Guarded) -> None:
    ca = guarded.ours.certificate
    certificate, key = guarded.ours.issue("client")
    strange_certificate, strange_key = guarded.other.issue("client")
    mine = ("--tls-cert", certificate, "--tls-key", key)
    strange = ("--tls-cert", strange_certificate, "--tls-key", strange_key)
    rows: list[tuple[tuple[str | pathlib.Path, ...], str]] = [
        ((), "if it wants TLS, set --tls-ca"),
        (("--tls-ca", ca), "is the client's certificate signed by its client_ca_file?"),
        (("--tls-ca", ca, *strange), "is the client's certificate signed by its client_ca_file?"),
        (("--tls-ca", guarded.other.certificate, *mine), "has not signed"),
    ]
    for options, words in rows:
        told = guarded.ctl(*options)
        assert told.returncode == UNREACHABLE, (options, told)
        assert words in told.stderr, (options, told.stderr)
        assert len(told.stderr.splitlines()) == 1, told.stderr
        assert told.stdout == ""


def test_options_that_make_no_sense_are_told_before_anything_is_sent(guarded: Guarded) -> None:
    ca = guarded.ours.certificate
    certificate, key = guarded.ours.issue("client")
    for options, words in (
        (("--tls-ca", "/no/such/ca.pem"), "/no/such/ca.pem"),
        (("--tls-cert", certificate, "--tls-key", key), "--tls-ca"),
        (("--tls-ca", ca, "--tls-cert", certificate), "--tls-key"),
        (("--tls-ca", ca, "--tls-key", key), "--tls-cert"),
    ):
        told = guarded.ctl(*options)
        assert told.returncode == USAGE, (options, told)
        assert words in told.stderr, (options, told.stderr)
