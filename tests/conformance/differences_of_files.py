"""Classes of difference: what is served under a path, what it is called, and methods."""

from __future__ import annotations

import re

from difference import Class, Pair, statuses

_TYPES = {  # nginx's name and ours, by extension.
    ".js": ("application/javascript", "text/javascript; charset=utf-8"),
    ".xml": ("text/xml", "application/xml"),
}
_UNKNOWN_TO_NGINX = {
    ".mjs": "text/javascript; charset=utf-8",
    ".gz": "application/gzip",
    ".md": "text/markdown; charset=utf-8",
}
_LISTINGS = ("/sub/deep/", "/bare/", "/bare//", "/.well-known/", "/index-is-directory/index.html/")
_KNOWN_TO_NGINX = ("POST", "PUT", "DELETE", "PATCH", "PROPFIND", "MKCOL")


def _path(pair: Pair) -> str:
    return re.split(r"[?#]", pair.request.target)[0]


def _extension(pair: Pair) -> str:
    found = re.search(r"\.\w+$", _path(pair))
    return found.group() if found else ""


def _renamed_type(pair: Pair) -> bool:
    return pair.fields("content-type") == _TYPES.get(_extension(pair))


def _unknown_type(pair: Pair) -> bool:
    ours = _UNKNOWN_TO_NGINX.get(_extension(pair))
    return pair.fields("content-type") == ("application/octet-stream", ours)


def _charset(pair: Pair) -> bool:
    theirs, ours = pair.fields("content-type")
    text = theirs in ("text/html", "text/plain", "text/css")
    return text and ours == f"{theirs}; charset=utf-8"


def _error_page(pair: Pair) -> bool:
    (theirs, ours), status = pair.fields("content-type"), pair.ours.status
    page = b"Accept: text/html" in pair.request.data
    type_here = "text/html; charset=utf-8" if page else "application/json"
    if theirs != "text/html" or ours != type_here or not 300 < status < 600:
        return False
    if pair.request.method == "HEAD":
        return pair.nginx.body == pair.ours.body == b""
    shown = b"<!doctype html>" if page else b'{"error":{"status":%d,"reason":"' % status
    return b"<center>nginx/" in pair.nginx.body and pair.ours.body.startswith(shown)


def _is_hidden(pair: Pair) -> bool:
    decoded = _path(pair).replace("%2e", ".")
    names = [name for name in decoded.split("/") if name not in ("", ".", "..", ".well-known")]
    return any(name.startswith(".") for name in names)


def _control_byte(pair: Pair) -> bool:
    return re.search(r"%(0[1-9a-f]|1[0-9a-f]|7f)", _path(pair).lower()) is not None


def _is_kept(pair: Pair) -> bool:
    return pair.connections == ("closed", "open") and pair.nginx.status == pair.ours.status


CLASSES = [
    Class("charset", ("content-type",), _charset),
    Class("renamed-type", ("content-type",), _renamed_type),
    Class("type-unknown-to-nginx", ("content-type",), _unknown_type),
    Class("error-page", ("error page",), _error_page),
    Class(
        "allow",
        ("allow",),
        lambda pair: (
            pair.ours.status == 405 and pair.fields("allow") == (None, "GET, HEAD, OPTIONS")
        ),
    ),
    statuses(
        "options",
        lambda pair: pair.request.method == "OPTIONS" or pair.request.name == "asterisk-options",
        (405, 204),
        (400, 204),
    ),
    statuses(
        "method-before-file",
        lambda pair: (
            pair.request.group == "method"
            and pair.request.target in ("/sub", "/bare/", "/missing")
            and pair.request.method in _KNOWN_TO_NGINX
        ),
        (301, 405),
        (403, 405),
        (404, 405),
    ),
    statuses(
        "unknown-method",
        lambda pair: pair.request.method == "CONNECT",
        (405, 501),
    ),
    statuses(
        "no-method",
        lambda pair: (
            pair.request.name in ("half-an-http2-preface", "endless-method", "long-method")
        ),
        (405, 400),
        (405, 501),
        (414, 501),
    ),
    statuses(
        "unfit-method",
        lambda pair: (
            pair.request.method in ("get", "Get")
            or pair.request.name in ("lower-case-method", "connect")
        ),
        (400, 405),
        (400, 501),
    ),
    Class(
        "trace-keeps-connection",
        ("connection",),
        lambda pair: pair.request.method == "TRACE" and _is_kept(pair),
    ),
    Class(
        "bad-path-keeps-connection",
        ("connection",),
        lambda pair: (
            pair.statuses == (400, 400) and pair.request.group == "path" and _is_kept(pair)
        ),
    ),
    statuses("no-listing", lambda pair: _path(pair) in _LISTINGS, (403, 404)),
    statuses("index-is-directory", lambda pair: _path(pair) == "/index-is-directory/", (301, 404)),
    statuses("hidden-file", _is_hidden, (200, 404), (301, 404), (403, 404)),
    statuses(
        "link-outside",
        lambda pair: _path(pair).startswith("/link-outside"),
        (200, 404),
        (301, 404),
        (403, 404),
    ),
    statuses("link-absolute", lambda pair: _path(pair) == "/link-absolute.txt", (200, 404)),
    statuses("link-loop", lambda pair: _path(pair) == "/link-loop.txt", (403, 404)),
    statuses(
        "encoded-slash",
        lambda pair: "%2f" in _path(pair).lower() and "..%2f" not in _path(pair).lower(),
        (200, 400),
    ),
    statuses(
        "backslash",
        lambda pair: re.search(r"\\|%5c", _path(pair), re.IGNORECASE) is not None,
        (200, 400),
        (404, 400),
    ),
    statuses("control-byte-in-path", _control_byte, (200, 400), (404, 400)),
    statuses(
        "fragment",
        lambda pair: "#" in pair.request.target or pair.request.name == "fragment",
        (200, 400),
        (404, 400),
    ),
    statuses(
        "other-scheme",
        lambda pair: pair.request.target.startswith("ftp:") or pair.request.name == "other-scheme",
        (200, 400),
    ),
]
