"""A request walks through the rooms once and never back: the map is what CMake and Bazel list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tree import TOP, Room, files_ending, includes, rooms, shown

ROOMS = sorted(rooms())

# The outside comes in at one door each, so that fakes and fuzzers can stand in its place.
DOORS = {
    r"uv\.h": ["sidecar/loop/"],
    r"llhttp\.h": ["sidecar/http/"],
    r"grpc(pp)?/.*|.*\.grpc\.pb\.h": [
        "sidecar/control/",
        "control_client/client.cc",
        "control_client/client_test.cc",
    ],
    r"yaml-cpp/.*": ["sidecar/schema/", "control_client/"],
    r"CLI/.*": ["sidecar/runtime/", "control_client/"],
    r"jemalloc/.*": ["sidecar/base/", "sidecar/cache/store_test.cc"],
}


def bazel_room(room: Room) -> dict[str, list[str]]:
    """What room(...) in the room's BUILD.bazel may include."""
    tree = ast.parse((room.folder / "BUILD.bazel").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    call = next(
        node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "room"
    )
    lists = {}
    for keyword in call.keywords:
        if keyword.arg in ("deps", "test_deps") and isinstance(keyword.value, ast.List):
            lists[keyword.arg] = [ast.literal_eval(item) for item in keyword.value.elts]
    return lists


def test_there_are_rooms() -> None:
    assert {"base", "loop", "http", "route", "server"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_is_called_like_its_folder(name: str) -> None:
    assert rooms()[name].folder.name == name


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_includes_only_what_it_lists(name: str) -> None:
    room = rooms()[name]
    wrong = []
    for path in room.sources():
        is_test = path.stem.endswith(("_test", "_bench", "_fuzz")) or path.stem.startswith("test_")
        allowed = {name} | room.deps | (room.test_deps if is_test else set())
        for include in includes(path):
            other = re.match(r"sidecar/([^/]+)/", include)
            if other and other.group(1) not in allowed:
                wrong.append(
                    f"{shown(path)} includes {include}: {other.group(1)} is not in its DEPS"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_lists_only_rooms(name: str) -> None:
    room = rooms()[name]
    assert room.deps | room.test_deps <= set(ROOMS)


def test_no_rooms_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, "a circle: " + " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(rooms()[name].deps):
                visit(other, [*way, name])
            done.add(name)

    for name in ROOMS:
        visit(name, [])


@pytest.mark.parametrize("name", ROOMS)
def test_bazel_lists_the_same_as_cmake(name: str) -> None:
    room = rooms()[name]
    lists = bazel_room(room)
    assert set(lists.get("deps", [])) == room.deps
    assert set(lists.get("test_deps", [])) == room.test_deps


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_it_is(name: str) -> None:
    assert (rooms()[name].folder / "README.md").is_file()


@pytest.mark.parametrize("header", sorted(DOORS))
def test_the_outside_comes_in_at_its_door(header: str) -> None:
    def is_door(path: Path) -> bool:
        return bool(shown(path).startswith(tuple(DOORS[header])))

    sources = [path for path in files_ending(".cc", ".h") if path.is_relative_to(TOP / "sidecar")]
    sources += [
        path for path in files_ending(".cc", ".h") if path.is_relative_to(TOP / "control_client")
    ]
    wrong = [
        f"{shown(path)} includes {include}"
        for path in sources
        if not is_door(path)
        for include in includes(path)
        if re.fullmatch(header, include)
    ]
    assert not wrong, "\n".join(wrong)
