"""The same requests to a real nginx and to the sidecar, over the same files: every difference is explained.

docs/nginx-differences.md has the reason of each class; difference.py says what is compared.
"""

from __future__ import annotations

import collections
import pathlib
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from difference import Class, Pair, differences
from differences_of_codings import CLASSES as CODINGS
from differences_of_conditions import CLASSES as CONDITIONS
from differences_of_files import CLASSES as FILES
from differences_of_messages import CLASSES as MESSAGES
from nginx_process import Nginx
from nginx_requests import Request, all_requests
from nginx_tree import make_tree
from wire import Observed, ask

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from sidecar_process import Sidecar

DOCUMENT = ROOT / "docs" / "nginx-differences.md"
CLASSES: list[Class] = [*FILES, *CONDITIONS, *CODINGS, *MESSAGES]
AT_ONCE = 16


class Asked:
    """One server; it fills a request's {etag} and {modified} with what it says of the file itself."""

    def __init__(self, port: int, targets: set[str]) -> None:
        self.port = port
        self.validators = {
            target: self._plain(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
            for target in targets
        }

    def _plain(self, text: str) -> tuple[bytes, bytes]:
        seen = ask(self.port, text.encode(), is_head=False)
        etag, modified = seen.header("etag"), seen.header("last-modified")
        return (etag or '"none"').encode(), (modified or "none").encode()

    def __call__(self, request: Request) -> Observed:
        etag, modified = self.validators.get(request.target, (b"", b""))
        data = request.data.replace(b"{etag}", etag).replace(b"{modified}", modified)
        return ask(self.port, data, is_head=request.method == "HEAD")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pair]]:
    folder = tmp_path_factory.mktemp("against-nginx")
    site = make_tree(folder)
    (folder / "nginx").mkdir()
    requests = all_requests()
    targets = {request.target for request in requests if request.group != "path"}
    config = f"""
mounts:
  - {{name: site, prefix: /, root: {site}}}
  - {{name: files, prefix: /files, root: {site}, precompressed: [gzip]}}
  - {{name: made, prefix: /made, root: {site}, gzip_level: 1, gzip_min_size: 256B,
     gzip_types: [text/plain, text/css, text/html]}}
"""
    with Nginx(folder / "nginx", site) as nginx, Sidecar(folder, config) as sidecar:
        theirs, ours = Asked(nginx.port, targets), Asked(sidecar.port, targets)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            yield [
                Pair(request, seen_there, seen_here)
                for request, seen_there, seen_here in zip(
                    requests,
                    threads.map(theirs, requests),
                    threads.map(ours, requests),
                    strict=True,
                )
            ]


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 160 else text[:160] + "…"


def test_there_is_something_to_compare(pairs: list[Pair]) -> None:
    assert len(pairs) >= 500
    groups = collections.Counter(pair.request.group for pair in pairs)
    assert min(groups.values()) >= 20, groups
    statuses = collections.Counter(pair.nginx.status for pair in pairs)
    assert {200, 206, 301, 304, 400, 403, 404, 405, 412, 414, 416, 501} <= set(statuses)


def test_ours_are_framed_and_arrive(pairs: list[Pair]) -> None:
    wrong = []
    for pair in pairs:
        ours, head = pair.ours, pair.request.method == "HEAD"
        length = ours.header("content-length")
        empty = ours.status in (204, 304)
        framed = length is None if empty else head or length == str(len(ours.body))
        # A body may turn out bad when its request has been answered: 405 needs none.
        late = b"HTTP/1.0" in pair.request.data or (
            ours.status == 405 and b"chunked" in pair.request.data
        )
        told = late or (ours.header("connection") == "close") == (ours.connection == "closed")
        if ours.status < 200 or not (framed and ours.framed and told):
            wrong.append(f"{pair.request.name!r}: {short(ours)}")
    assert not wrong, "\n".join(wrong)


def test_every_difference_is_explained_once(pairs: list[Pair]) -> None:
    unexplained, twice = [], []
    for pair in pairs:
        for aspect, (theirs, ours) in differences(pair).items():
            covering = [
                each.name for each in CLASSES if aspect in each.aspects and each.covers(pair)
            ]
            line = f"{pair.request.group}: {short(pair.request.name)}: {aspect}: nginx {short(theirs)}, ours {short(ours)}"
            if not covering:
                unexplained.append(line)
            elif len(covering) > 1:
                twice.append(f"{line}: {', '.join(covering)}")
    assert not unexplained, f"{len(unexplained)} are not explained:\n" + "\n".join(unexplained)
    assert not twice, "more than one class claims:\n" + "\n".join(twice)


def test_every_class_is_met(pairs: list[Pair]) -> None:
    met = {
        each.name
        for pair in pairs
        for aspect in differences(pair)
        for each in CLASSES
        if aspect in each.aspects and each.covers(pair)
    }
    assert {each.name for each in CLASSES} - met == set()


def test_the_document_lists_the_same_classes() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(set(listed)) == len(listed)
    assert sorted(listed) == sorted(each.name for each in CLASSES)
