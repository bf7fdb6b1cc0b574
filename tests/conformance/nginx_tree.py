"""The directory tree that nginx and the sidecar serve side by side, and the URLs of what is in it."""

from __future__ import annotations

import gzip
import os
import pathlib

# A whole second long ago: both round it alike, and neither takes it for a file still being written.
MODIFIED = 1_700_000_000
DIGITS = b"0123456789"
LARGE = bytes(range(256)) * 4096  # 1 MiB
TEXT = b"A text that can be made much shorter.\n" * 100
FILES: dict[str, bytes] = {
    "index.html": b"<h1>home</h1>\n",
    "probe.txt": b"the probe's answer",
    "empty.txt": b"",
    "one.txt": b"1",
    "digits.txt": DIGITS,
    "large.bin": LARGE,
    "text.html": b"<p>text</p>\n",
    "style.css": b"a{}\n",
    "script.js": b"1;\n",
    "module.mjs": b"1;\n",
    "data.json": b"{}\n",
    "page.xml": b"<a/>\n",
    "picture.svg": b"<svg/>\n",
    "picture.png": b"\x89PNG\r\n\x1a\n",
    "font.woff2": b"wOF2",
    "program.wasm": b"\0asm",
    "archive.tar.gz": b"\x1f\x8b",
    "notes.md": b"# notes\n",
    "UPPER.TXT": b"upper\n",
    "no-extension": b"plain",
    "unknown.zzz": b"zzz",
    "with space.txt": b"space",
    "ümlaut.txt": b"umlaut",
    "per%cent.txt": b"percent",
    "%41.txt": b"percent forty-one",
    "plus+.txt": b"plus",
    "hash#.txt": b"hash",
    "what?.txt": b"what",
    "quote'\".txt": b"quotes",
    "semi;colon&amp,=@!$().txt": b"marks",
    "colon:.txt": b"colon",
    "back\\slash.txt": b"backslash",
    "line\nfeed.txt": b"line feed",
    "tilde~.txt": b"tilde",
    "...": b"three dots",
    "..two": b"two dots and more",
    "trailing.": b"trailing dot",
    ".hidden": b"hidden",
    ".well-known/security.txt": b"contact",
    ".git/config": b"git",
    "sub/index.html": b"sub\n",
    "sub/file.txt": b"file in sub",
    "sub/deep/er/file.txt": b"deep",
    "sub/deep/.secret": b"secret",
    "bare/file.txt": b"a directory without an index",
    "sp ace/index.html": b"space directory\n",
    "coded.txt": TEXT,
    "coded.txt.gz": gzip.compress(TEXT, mtime=0),
    "stale.txt": TEXT,
    "stale.txt.gz": gzip.compress(b"older\n", mtime=0),
    "only.txt.gz": gzip.compress(b"only\n", mtime=0),
    "index-is-directory/index.html/file.txt": b"file",
}


def make_tree(folder: pathlib.Path) -> pathlib.Path:
    """Fills `folder`/site, with links that stay inside and links that lead to `folder`/outside."""
    site = folder / "site"
    for name, content in FILES.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "outside").mkdir()
    (folder / "outside" / "file.txt").write_bytes(b"outside")
    links = {
        "link-inside.txt": "digits.txt",
        "link-up.txt": "sub/../digits.txt",
        "link-directory": "sub",
        "link-absolute.txt": str(site / "digits.txt"),
        "link-outside.txt": str(folder / "outside" / "file.txt"),
        "link-outside-relative.txt": "../outside/file.txt",
        "link-outside-directory": "../outside",
        "link-dangling.txt": "nothing",
        "link-loop.txt": "link-loop.txt",
    }
    for name, target in links.items():
        (site / name).symlink_to(target)
    os.mkfifo(site / "fifo")
    (site / "unreadable.txt").write_bytes(b"unreadable")
    (site / "unreadable.txt").chmod(0)
    for parent, _, names in os.walk(folder):
        for name in (*names, "."):
            os.utime(os.path.join(parent, name), (MODIFIED, MODIFIED), follow_symlinks=False)
    os.utime(site / "stale.txt.gz", (MODIFIED - 60, MODIFIED - 60))
    return site
