"""Images and containers for the tests: buildah and podman with a store of their own in the cache.

Works as root inside a container, without systemd and without an image registry: the base image is
debootstrap's Debian, imported under the name that the Dockerfile asks for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "catzilla"
STORE = CACHE / "containers"
SUITE = "bookworm"
BASE = f"docker.io/library/debian:{SUITE}-slim"

# crun refuses hybrid cgroups, and podman wants to raise a limit that a container may not raise.
CONTAINERS_CONF = """\
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
NEEDED = {
    "buildah": "buildah",
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
}


def missing_packages() -> list[str]:
    return [package for program, package in NEEDED.items() if shutil.which(program) is None]


class Containers:
    def __init__(self, folder: Path) -> None:
        conf = folder / "containers.conf"
        conf.write_text(CONTAINERS_CONF)
        policy = folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._policy = policy
        self._environment = {**os.environ, "CONTAINERS_CONF": str(conf)}
        STORE.mkdir(parents=True, exist_ok=True)

    def _run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        store: list[str | Path] = ["--root", STORE / "root", "--runroot", STORE / "run"]
        return subprocess.run(
            [program, *store, *arguments],
            env=self._environment, text=True, capture_output=True, check=False,
        )  # fmt: skip

    def podman(
        self, *arguments: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        made = self._run("podman", *arguments)
        if check and made.returncode != 0:
            raise RuntimeError(f"podman {arguments[0]}: {made.stderr[-4000:]}")
        return made

    def ensure_base(self) -> None:
        """Debian, as small as debootstrap makes it; once."""
        if self.podman("image", "exists", BASE, check=False).returncode == 0:
            return
        root = CACHE / f"debootstrap-{SUITE}"
        tar = CACHE / f"debootstrap-{SUITE}.tar"
        if not tar.exists():
            shutil.rmtree(root, ignore_errors=True)
            _check(["debootstrap", "--variant=minbase", SUITE, str(root)])
            _check(["tar", "-C", str(root), "-cf", f"{tar}.part", "."])
            shutil.rmtree(root)
            tar.with_name(f"{tar.name}.part").rename(tar)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.podman("import", "-c", f"ENV PATH={path}", "-c", 'CMD ["bash"]', tar, BASE)
        tar.unlink()

    def build(self, dockerfile: Path, context: Path, tag: str, *options: str) -> None:
        made = self._run(
            "buildah", "bud", "--isolation", "chroot", "--pull-never", "--layers",
            "--signature-policy", self._policy,
            "--ignorefile", dockerfile.with_name(f"{dockerfile.name}.dockerignore"),
            "-f", dockerfile, "-t", tag, *options, context,
        )  # fmt: skip
        if made.returncode != 0:
            raise RuntimeError(f"the build failed:\n{(made.stdout + made.stderr)[-6000:]}")
        # Layers of builds long past; those of the last days are the next build's cache.
        self.podman("image", "prune", "--force", "--filter", "until=72h", check=False)


def _check(command: list[str]) -> None:
    made = subprocess.run(command, text=True, capture_output=True, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"{command[0]}: {(made.stdout + made.stderr)[-4000:]}")
