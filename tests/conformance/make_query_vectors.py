"""Writes sidecar/http/query_vectors.h: what Python's urllib makes of queries and paths.

Run from the top of the tree: python3 tests/conformance/make_query_vectors.py
"""

from __future__ import annotations

import pathlib
import random
import urllib.parse

PIECES = [
    "a", "b", "=", "=", "&", "&", "+", "%20", "%", "%4", "%zz", "%C3%A9", "%c3", "%E9", "%00", "%2B",
    "%26", "%3D", ";", "%F0%9F%90%B1", "%F0%9F", "%ED%A0%80", "%C0%AF", "%F5", "%E2%82", "/", "?",
    "\xe9", "\xff", "%FF\xe9%FF", "1", "[]", "%25", "%2525", "%e2%82%ac", "%F4%90%80%80", "%80",
]  # fmt: skip

FIXED = [
    "", "a", "a=", "=a", "=", "&", "&&", "a&b", "a=1&a=2", "a=1&&b=2", "a==b", "a=b=c", "+=+",
    "a%3Db=c%26d", "q=%E2%98%83", "a;b=1", "%41=%42", "a=%", "a=%1", "a=%g1", "utf=%C3%28", "x=\xe9",
]  # fmt: skip


def literal(data: bytes) -> str:
    return 's("' + "".join(f"\\{byte:03o}" for byte in data) + '")'


def utf8(text: str) -> bytes:
    return text.encode("utf-8")


def main() -> None:
    chooser = random.Random(9110)
    inputs = FIXED + [
        "".join(chooser.choice(PIECES) for _ in range(chooser.randint(1, 9))) for _ in range(220)
    ]
    lines = [
        "// Made by tests/conformance/make_query_vectors.py; do not edit.",
        "#pragma once",
        "",
        "#include <string_view>",
        "#include <utility>",
        "#include <vector>",
        "",
        "namespace catzilla::http {",
        "",
        "struct QueryVector {",
        "  std::string_view query;",
        "  std::vector<std::pair<std::string_view, std::string_view>> pairs;",
        "};",
        "struct PathVector {",
        "  std::string_view raw;",
        "  std::string_view path;",
        "};",
        "",
        "template <size_t kSize>",
        "constexpr std::string_view s(const char (&text)[kSize]) {",
        "  return {text, kSize - 1};",
        "}",
        "",
        "// clang-format off",
        "inline const std::vector<QueryVector> kQueryVectors = {",
    ]
    for query in inputs:
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        body = ", ".join("{" + literal(utf8(n)) + ", " + literal(utf8(v)) + "}" for n, v in pairs)
        lines.append("    {" + literal(query.encode("latin-1")) + ", {" + body + "}},")
    lines += ["};", "", "inline const std::vector<PathVector> kPathVectors = {"]
    for text in inputs:
        if text.isascii():
            raw = "/" + text
            path = urllib.parse.unquote(raw)
            lines.append("    {" + literal(utf8(raw)) + ", " + literal(utf8(path)) + "},")
    lines += ["};", "// clang-format on", "", "}  // namespace catzilla::http", ""]
    pathlib.Path("sidecar/http/query_vectors.h").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
