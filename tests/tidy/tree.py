"""What the tree says about itself: its files, its rooms and what each room says it may include."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SECTIONS = ("DEPS", "LINK", "TEST_LINK")


@dataclass(frozen=True)
class Room:
    """A folder under sidecar/ with one purpose."""

    name: str
    folder: Path
    deps: frozenset[str]
    test_deps: frozenset[str]

    def sources(self) -> list[Path]:
        return sorted([*self.folder.glob("*.cc"), *self.folder.glob("*.h")])


@cache
def files() -> list[Path]:
    """Every file that is or will be committed."""
    command = [
        "git",
        "-C",
        str(TOP),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [TOP / name for name in sorted(listed.split("\0")) if name and (TOP / name).is_file()]


def files_ending(*suffixes: str) -> list[Path]:
    return [path for path in files() if path.suffix in suffixes]


def shown(path: Path) -> str:
    return str(path.relative_to(TOP))


def parse_room(folder: Path) -> Room | None:
    """Reads the one catzilla_room(name DEPS ... LINK ...) of a folder's CMakeLists.txt."""
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text())
    call = re.search(r"catzilla_room\(([^)]*)\)", text)
    if call is None:
        return None
    name, *words = call.group(1).split()
    lists: dict[str, set[str]] = {section: set() for section in SECTIONS}
    section = ""
    for word in words:
        if word in SECTIONS:
            section = word
        else:
            lists[section].add(word)
    test_rooms = {
        word.removeprefix("catzilla_")
        for word in lists["TEST_LINK"]
        if word.startswith("catzilla_")
    }
    return Room(name, folder, frozenset(lists["DEPS"]), frozenset(test_rooms))


@cache
def rooms() -> dict[str, Room]:
    found = [parse_room(path.parent) for path in sorted(TOP.glob("sidecar/*/CMakeLists.txt"))]
    return {room.name: room for room in found if room is not None}


def includes(path: Path) -> list[str]:
    """What a file includes, as written between the quotes or the brackets."""
    return re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.MULTILINE)
