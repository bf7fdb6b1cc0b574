"""Classes of difference: the message around the request, and malformed.txt."""

from __future__ import annotations

from difference import STATUS, Class, Pair, statuses
from nginx_tables import words

LENIENT = {  # nginx reads these as requests; the names are malformed.txt's.
    "line-form": """two-spaces-before-target two-spaces-after-target space-after-version leading-lf leading-cr
        leading-empty-lines bare-lf-after-line lf-ends-field lf-ends-head lf-only""",
    "version-form": "version-1.2 version-long-minor",
    "non-ascii-target": "target-with-utf8",
    "host-form": """host-with-userinfo host-bad-port host-huge-port host-port-zero host-signed-port
        host-open-bracket host-bad-bracket host-non-ascii host-long absolute-bad-port""",
    "field-form": """no-colon control-in-value vertical-tab-in-value del-in-value name-non-ascii
        name-with-slash""",
    "many-fields": "many-fields",
}
CHUNKED_AND_CLOSED = set(
    words(
        r"""
chunk-trailing-space chunk-endless-zeros chunk-extension-endless chunk-extension-lf
chunk-size-lf chunk-data-lf chunk-data-too-short chunk-last-lf trailer-space trailer-fold trailer-lf
trailer-nul trailer-large
"""
    )
)
TRANSFER_CODINGS = set(
    words(
        r"""
te-xchunked te-chunked-first te-chunked-twice te-identity te-gzip te-empty te-parameter te-quoted
te-vertical-tab
"""
    )
)


def _lenient(name: str) -> Class:
    names = set(LENIENT[name].split())

    def covers(pair: Pair) -> bool:
        fits = pair.nginx.status in (200, 404) and pair.ours.status in (400, 431, 505)
        return fits and pair.request.name in names and pair.connections == ("open", "closed")

    return Class(name, STATUS, covers)


def _needs_no_100(pair: Pair) -> bool:
    informational = (pair.nginx.informational, pair.ours.informational)
    connections = (("open", "open"), ("open", "closed"))
    return (
        b"\r\nExpect: 100-continue" in pair.request.data
        and informational in (([100], []), ([], []))
        and pair.connections in connections
    )


CLASSES = [
    *(_lenient(name) for name in LENIENT),
    Class(
        "http-0.9",
        (*STATUS, "date", "server"),
        lambda pair: pair.request.name == "no-version" and pair.statuses == (9, 400),
    ),
    statuses(
        "version-not-supported",
        lambda pair: pair.request.name in ("version-0.9", "http2-preface"),
        (400, 505),
    ),
    statuses("empty-host", lambda pair: pair.request.name == "host-empty", (400, 200)),
    statuses(
        "tab-around-host",
        lambda pair: b"Host:\t test \t\r\n" in pair.request.data,
        (400, 200),
        (400, 301),
        (400, 404),
    ),
    statuses(
        "head-too-large",
        lambda pair: pair.request.name in ("large-value", "large-name", "endless-head"),
        (400, 431),
    ),
    statuses("transfer-coding", lambda pair: pair.request.name in TRANSFER_CODINGS, (501, 400)),
    Class(
        "strict-chunks",
        ("connection",),
        lambda pair: (
            pair.request.name in CHUNKED_AND_CLOSED
            and pair.statuses == (405, 405)
            and pair.connections == ("open", "closed")
        ),
    ),
    Class(
        "no-needless-100",
        ("informational", "connection"),
        _needs_no_100,
    ),
    statuses(
        "unknown-expectation",
        lambda pair: (
            b"\r\nExpect: other" in pair.request.data or pair.request.name == "unknown-expectation"
        ),
        (200, 417),
        (404, 417),
        (301, 417),
        (405, 417),
    ),
]
