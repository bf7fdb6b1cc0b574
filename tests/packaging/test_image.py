"""The container image: built from the Dockerfile, small, not root, and it serves.

Building compiles the sidecar once more, in a bare Debian: long the first time, a cache later. It is
marked `slow`; `./dev test` runs it once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import Containers, missing_packages
from go_tools import ROOT
from waiting import eventually

pytestmark = pytest.mark.slow

IMAGE = "localhost/catzilla/sidecar:test"
SHOP = ROOT / "python_sdk" / "examples" / "shop"
MIB = 1 << 20
SIZE_MAX = 60 * MIB
LOADERS = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Containers:
    if missing := missing_packages():
        pytest.fail(f"needs apt-get install {' '.join(missing)}")
    made = Containers(tmp_path_factory.mktemp("containers"))
    made.ensure_base()
    made.build(ROOT / "deploy" / "Dockerfile", ROOT, IMAGE)
    return made


@pytest.fixture(scope="module")
def config(containers: Containers) -> dict[str, Any]:
    [image] = json.loads(containers.podman("image", "inspect", IMAGE).stdout)
    found: dict[str, Any] = image
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A container on the host's network, with every restriction that the chart puts on it.

    `more` is configuration, `volumes` are further --volume options; without one for it, /run/catzilla
    is a tmpfs.
    """

    def __init__(
        self, containers: Containers, site: Path, more: str = "", volumes: tuple[str, ...] = ()
    ) -> None:
        self.port, self.ops_port = free_port(), free_port()
        configuration = site.parent / "catzilla"
        configuration.mkdir()
        (configuration / "catzilla.yaml").write_text(
            f"listeners: [{{name: http, address: 127.0.0.1, port: {self.port}}}]\n"
            f"telemetry: {{ops_address: 127.0.0.1, ops_port: {self.ops_port}}}\n"
            + (more or "mounts: [{name: site, prefix: /, root: /srv}]\n")
        )
        shared = [option for volume in volumes for option in ("--volume", volume)]
        for folder in (site, configuration):
            folder.chmod(0o755)
        self._containers = containers
        self.name = containers.podman(
            "run", "--detach", "--network", "host", "--read-only", "--cap-drop", "all",
            "--security-opt", "no-new-privileges",
            *(shared or ["--mount", "type=tmpfs,destination=/run/catzilla,chown=true"]),
            "--volume", f"{site}:/srv:ro", "--volume", f"{configuration}:/etc/catzilla:ro",
            IMAGE, "--config", "/etc/catzilla/catzilla.yaml",
        ).stdout.strip()  # fmt: skip

    def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        url = f"http://127.0.0.1:{port or self.port}{path}"
        answers: list[tuple[int, str]] = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    answers.append((answer.status, answer.read().decode()))
            except urllib.error.HTTPError as error:
                answers.append((error.code, error.read().decode()))
            except OSError:
                return False
            return True

        eventually(answered, 20, lambda: f"no answer; its log says:\n{self.log()}")
        return answers[0]

    def log(self) -> str:
        made = self._containers.podman("logs", self.name, check=False)
        return made.stdout + made.stderr

    def execute(self, *command: str) -> tuple[int, str]:
        made = self._containers.podman("exec", self.name, *command, check=False)
        return made.returncode, made.stdout + made.stderr

    def stop(self) -> int:
        """Returns the exit code of the daemon."""
        self._containers.podman("stop", "--time", "20", self.name)
        [state] = json.loads(self._containers.podman("inspect", self.name).stdout)
        return int(state["State"]["ExitCode"])


@pytest.fixture
def running(containers: Containers, tmp_path: Path) -> Iterator[Running]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<h1>from a container</h1>")
    tmp_path.chmod(0o755)
    made = Running(containers, site)
    yield made
    containers.podman("rm", "--force", "--time", "1", made.name, check=False)


def test_the_image_is_small(config: dict[str, Any]) -> None:
    assert config["Size"] < SIZE_MAX, f"{config['Size'] / MIB:.1f} MiB"


def test_the_image_says_what_it_is(config: dict[str, Any]) -> None:
    told = config["Config"]
    assert told["User"] == "65532:65532"
    assert told["Entrypoint"] == ["catzilla-sidecar"]
    assert set(told["ExposedPorts"]) == {"8080/tcp", "9901/tcp"}


def test_there_is_no_shell_in_it(containers: Containers) -> None:
    for program in ("sh", "bash", "/bin/sh", "/usr/bin/apt-get"):
        made = containers.podman(
            "run", "--rm", "--network", "none", "--entrypoint", program, IMAGE, check=False
        )
        assert made.returncode in (126, 127), program


@pytest.mark.parametrize(
    "command", [("catzilla-sidecar", "--version"), ("catzillactl", "version", "--client")]
)
def test_both_programs_tell_their_version(containers: Containers, command: tuple[str, ...]) -> None:
    program, *arguments = command
    told = ("--rm", "--network", "none", "--read-only", "--entrypoint", program, IMAGE, *arguments)
    assert "0.1.0" in containers.podman("run", *told).stdout


def test_it_serves_a_file_without_root_or_a_writable_file_system(running: Running) -> None:
    assert running.get("/index.html") == (200, "<h1>from a container</h1>")
    assert running.get("/nothing")[0] == 404
    assert running.get("/livez", running.ops_port)[0] == 200
    assert running.get("/readyz", running.ops_port)[0] == 200


def test_catzillactl_works_inside_and_term_ends_it_cleanly(running: Running) -> None:
    running.get("/index.html")
    code, said = running.execute("catzillactl", "status")
    assert code == 0, said
    assert running.stop() == 0


def test_the_libraries_are_all_there(containers: Containers) -> None:
    # ldd is a script and not in the image: the loader itself lists what it would load.
    loader = next(name for name in LOADERS if Path(name).exists())
    for program in ("catzilla-sidecar", "catzillactl"):
        made = containers.podman(
            "run", "--rm", "--network", "none", "--entrypoint", loader, IMAGE,
            "--list", f"/usr/local/bin/{program}",
        )  # fmt: skip
        assert "not found" not in made.stdout + made.stderr


def test_an_app_outside_attaches_through_the_shared_folder(
    containers: Containers, tmp_path: Path
) -> None:
    """As in a pod: two mount namespaces that share two folders, at the same paths."""
    site = tmp_path / "site"
    site.mkdir()
    tmp_path.chmod(0o755)
    subprocess.run([SHOP / "install-assets"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="catzilla-") as sockets:
        os.chown(sockets, 65532, 65532)
        running = Running(
            containers,
            site,
            more=f"app: {{mount_roots: [{SHOP}]}}\ncontrol: {{runtime_dir: {sockets}}}\n",
            volumes=(f"{sockets}:{sockets}", f"{SHOP}:{SHOP}:ro"),
        )
        app = None
        try:
            assert running.get("/readyz", running.ops_port)[0] == 503
            with (tmp_path / "app.log").open("wb") as log:
                app = subprocess.Popen(
                    [sys.executable, "-m", "catzilla", "run", "shop:app", "--attach",
                     "--runtime-dir", sockets],
                    cwd=SHOP, stdout=log, stderr=subprocess.STDOUT,
                    env={**os.environ, "SHOP_DATABASE": str(tmp_path / "shop.sqlite3")},
                )  # fmt: skip
            eventually(
                lambda: running.get("/readyz", running.ops_port)[0] == 200,
                30,
                lambda: (tmp_path / "app.log").read_text() + running.log(),
            )
            assert running.get("/api/products/tuna-meteor")[0] == 200
            assert running.get("/shop.css")[0] == 200
            app.terminate()
            assert app.wait(20) == 0
            # The app has gone; what the sidecar holds itself is still there.
            assert running.get("/shop.css")[0] == 200
            assert running.get("/api/products/tuna-meteor")[0] == 503
        finally:
            if app is not None and app.poll() is None:
                app.kill()
                app.wait()
            containers.podman("rm", "--force", "--time", "1", running.name, check=False)
