"""What is asked of nginx and of the sidecar. `{etag}` and `{modified}` stand for what the asked server itself
says of the file."""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


TARGETS = words(
    r"""
/ // /// /index.html /sub /sub/ /sub// //sub/ /sub//file.txt /sub/file.txt //sub/file.txt /./sub/file.txt
/sub/./file.txt /sub/. /sub/.. /sub/../ /sub/../digits.txt /sub/deep/../file.txt /sub/deep /sub/deep/
/sub/deep/er /sub/deep/er/file.txt /sub/../sub/file.txt /sub/..//digits.txt /sub/%2e/file.txt
/sub/%2e%2e/digits.txt /sub/%2E%2E/digits.txt /sub/.%2e/digits.txt /.. /../ /../outside/file.txt
/../../etc/passwd /sub/../../outside/file.txt /%2e%2e/outside/file.txt /..%2foutside/file.txt
/%252e%252e/outside/file.txt /sub%2ffile.txt /sub%2Ffile.txt /sub%5cfile.txt /sub\file.txt /digits.txt
/digits.txt/ /digits.txt/x /digits.txt? /digits.txt?query /digits.txt?a=b&c=%2f /digits.txt?? /sub?query
/sub?q=%0d%0aX:y /sub/?query /missing /missing/ /missing/file.txt /sub/missing.txt?query /Digits.txt /SUB/
/digits.tx /digits.txtt /digits.txt%20 /%20digits.txt /digits.txt%00 /digits.txt%00.html /%00 /%64igits.txt
/digits%2etxt /%64%69%67%69%74%73.txt /digits%2Etxt /sub%3ffile.txt /with%20space.txt /with+space.txt
/%C3%BCmlaut.txt /%c3%bcmlaut.txt /%FCmlaut.txt /%C3mlaut.txt /%c0%afetc /per%25cent.txt /per%cent.txt
/%2541.txt /%41.txt /%4 /% /%zz /%u0041 /plus+.txt /plus%2B.txt /plus%20.txt /hash%23.txt /hash#.txt
/digits.txt#fragment /what%3F.txt /what%3f.txt?x /what?.txt /quote'%22.txt /quote%27%22.txt /quote'".txt
/semi;colon&amp,=@!$().txt /semi%3Bcolon%26amp%2C%3D%40%21%24%28%29.txt /digits.txt;v=1 /colon:.txt
/colon%3A.txt /back%5Cslash.txt /line%0Afeed.txt /digits.txt%0A /digits.txt%0D%0A /digits.txt%7f /%01
/tilde~.txt /tilde%7E.txt /... /..two /trailing. /digits.txt. /.hidden /%2ehidden /.git/config /.git /.git/
/.well-known /.well-known/ /.well-known/security.txt /sub/deep/.secret /bare /bare/ /bare/file.txt /bare//
/sp%20ace /sp%20ace/ /index-is-directory /index-is-directory/ /index-is-directory/index.html
/index-is-directory/index.html/ /one.txt /empty.txt /large.bin /text.html /style.css /script.js /module.mjs
/data.json /page.xml /picture.svg /picture.png /font.woff2 /program.wasm /archive.tar.gz /notes.md /UPPER.TXT
/no-extension /unknown.zzz /unreadable.txt /fifo /fifo/ /link-inside.txt /link-up.txt /link-directory
/link-directory/ /link-directory/file.txt /link-absolute.txt /link-outside.txt /link-outside-relative.txt
/link-outside-directory /link-outside-directory/ /link-outside-directory/file.txt /link-dangling.txt
/link-dangling.txt/ /link-loop.txt /{ /{a} /| /^ /` /<a> /~ /* /** http://test/digits.txt http://test
http://test/ http://test/sub http://other/digits.txt HTTP://test/digits.txt https://test/digits.txt
http://test:80/digits.txt http://user@test/digits.txt http:///digits.txt ftp://test/digits.txt
"""
)
TARGETS += ["/" + "n" * 255, "/" + "n" * 256, "/" + "n" * 5000, "/d" * 2000, "/sub/../" * 300]

METHODS = words(
    r"""
POST PUT DELETE PATCH OPTIONS TRACE CONNECT PROPFIND MKCOL LINK BREW get Get GETX
"""
)
METHOD_TARGETS = [
    "/digits.txt",
    "/",
    "/sub",
    "/sub/",
    "/bare/",
    "/missing",
    "/.hidden",
    "/large.bin",
]

THEN, NOW, NEVER = (
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 01 Jan 2021 00:00:00 GMT",
    "Fri, 01 Jan 2100 00:00:00 GMT",
)
ETAGS = [
    "{etag}",
    "W/{etag}",
    '"other"',
    'W/"other"',
    "*",
    '"other", {etag}',
    '"a" , W/{etag},"b"',
    "{etag},",
    ",{etag}",
    "",
    '"',
    "other",
    '"*"',
    "*, {etag}",
    '{etag}"x"',
    '"other"{etag}',
    "w/{etag}",
]
DATES = [
    "{modified}",
    THEN,
    NOW,
    NEVER,
    "",
    "nonsense",
    "0",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tuesday, 14-Nov-23 22:13:20 GMT",
    "Tue Nov 14 22:13:20 2023",
    "Tue, 14 Nov 2023 22:13:21 GMT",
    "Mon, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:20 +0000",
    "tue, 14 nov 2023 22:13:20 gmt",
    "Tue, 14 Nov 2023 22:13:20",
    "Tue, 32 Nov 2023 22:13:20 GMT",
    "{modified}; length=10",
]
CONDITIONS = [
    *(f"If-None-Match: {tag}" for tag in ETAGS),
    *(f"If-Match: {tag}" for tag in ETAGS),
    *(f"If-Modified-Since: {date}" for date in DATES),
    *(f"If-Unmodified-Since: {date}" for date in DATES),
    *(
        f"If-None-Match: {tag}\r\nIf-Modified-Since: {date}"
        for tag in ("{etag}", '"other"')
        for date in ("{modified}", THEN)
    ),
    *(
        f"If-Match: {tag}\r\nIf-Unmodified-Since: {date}"
        for tag in ("{etag}", '"other"')
        for date in ("{modified}", THEN)
    ),
    "If-Match: {etag}\r\nIf-None-Match: {etag}",
    'If-Match: "other"\r\nIf-None-Match: {etag}',
    'If-None-Match: "a"\r\nIf-None-Match: {etag}',
    "If-Unmodified-Since: {modified}\r\nIf-Modified-Since: {modified}",
]

ONE_RANGE = words(
    r"""
0-0 0-3 0-9 0-10 0- 4- 9- 10- 9-9 10-10 9-100 -1 -3 -10 -11 -0 5-2 99999999999999999999-
0-99999999999999999999 -99999999999999999999 18446744073709551615-18446744073709551615 18446744073709551616-
9223372036854775807- 00-03 1-02 +1-2 1-+2 0x1-2 -- - 1--2 --3 a-b 1 1.0-2 1-2-3
"""
)
SPACED_RANGE = ["", " ", " 0-3", "0-3 ", "0 -3", "0- 3", "\t0-3", "0-3;", "0-3;q=1"]
SEVERAL_RANGES = words(
    r"""
0-0,2-2 0-1,8-9 0-1,-1 8-9,0-1 0-4,2-6 0-1,2-3 0-9,0-9 0-0,0-0,0-0 0-,0- 0-1,20-30 20-30,0-1 20-30,40-50 0-1,
,0-1 0-1,,3-4 0-1,a-b a-b,0-1 5-2,0-1 0-1,5-2 -0,0-1 0-1,-0 0-3,-3 -3,-3 0-1,2-3,4-5,6-7,8-9
"""
)
SEVERAL_RANGES += [
    "0-1, 3-4",
    "0-1 ,3-4",
    "0-1,\t3-4",
    ",".join(["0-0"] * 70),
    ",".join(["1-1,5-5"] * 40),
]
LARGE_RANGES = words(
    r"""
0-0 0-1048575 0-1048576 1048575- 1048576- -1 -1048576 -1048577 65535-65537 500000-600000 0-0,-1 0-99,1000-1099
0-99,150-199 1000-1099,0-99 0-524287,524288-1048575 0-1048575,0-1048575 100-,0-99
0-0,1000-1000,2000-2000,3000-3000 0-600000,500000-1048575
"""
)
RANGE_FIELDS = [
    "Range: lines=0-3",
    "Range: Bytes=0-3",
    "Range: BYTES=0-3",
    "Range: bytes =0-3",
    "Range: bytes= 0-3",
    "Range: bytes:0-3",
    "Range: bytes",
    "Range:",
    "Range: 0-3",
    "Range: bytes=0-3\r\nRange: bytes=5-6",
    "range: bytes=0-3",
]
IF_RANGES = [
    "{etag}",
    "W/{etag}",
    '"other"',
    "{modified}",
    THEN,
    NEVER,
    "",
    "nonsense",
    "*",
    '"a", {etag}',
    "Tuesday, 14-Nov-23 22:13:20 GMT",
]
RANGE_AND_CONDITION = [
    "If-None-Match: {etag}",
    'If-None-Match: "other"',
    "If-Match: {etag}",
    'If-Match: "other"',
    "If-Modified-Since: {modified}",
    f"If-Modified-Since: {THEN}",
    f"If-Unmodified-Since: {THEN}",
]
ENCODINGS = [
    "gzip",
    "gzip, deflate, br, zstd",
    "identity",
    "identity;q=0",
    "*;q=0",
    "gzip;q=0",
    "br;q=1.0, *;q=0",
    "",
    "nonsense",
    "gzip;q=2",
    "gzip;q=",
    ",,",
    "GZIP",
]
CODED_TARGETS = words(
    r"""
/files/coded.txt /files/coded.txt.gz /files/stale.txt /files/only.txt /files/digits.txt /files/sub/ /files/sub
/made/coded.txt /made/coded.txt.gz /made/digits.txt /made/picture.png /made/large.bin /made/sub/
"""
)
CODINGS = [
    *ENCODINGS,
    "gzip;q=0.5, identity;q=1",
    "identity, gzip;q=0.001",
    "gzip;q=1.000",
    "gzip ; q=0",
    "gzip;q=0.0",
    "deflate, gzip;q=0",
    "*",
    "*;q=0.5",
    "identity;q=0, *;q=0",
    "x-gzip",
    "gzipped",
    "deflate",
]
CODED_FIELDS = [
    "If-None-Match: {etag}",
    "If-None-Match: *",
    "If-Modified-Since: {modified}",
    "If-Match: {etag}",
    "Range: bytes=0-3",
    "Range: bytes=999999-",
]
# Whole heads behind the request line.
HEADS = [
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Close",
    "Connection: close, keep-alive",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Connection: upgrade\r\nUpgrade: h2c",
    "Connection: x",
    "Connection: keep-alive\r\nConnection: close",
    "Expect: 100-continue",
    "Expect: other",
    "Content-Length: 0",
    "Accept: text/html",
    "Accept: nothing/at-all",
    "TE: trailers",
    "Cookie: a=b",
    "X-Long: " + "v" * 4000,
    "Max-Forwards: 0",
    "Cache-Control: no-cache",
    "Cache-Control: only-if-cached",
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 4\r\n\r\nbody",
    "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Content-Type: text/plain",
]
LINES = [
    "GET {} HTTP/1.0\r\n\r\n",
    "GET {} HTTP/1.0\r\nHost: test\r\n\r\n",
    "HEAD {} HTTP/1.0\r\n\r\n",
    "GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET {} HTTP/1.0\r\nConnection: close\r\n\r\n",
    "GET {} HTTP/1.0\r\nRange: bytes=0-0\r\n\r\n",
    "GET {} HTTP/1.0\r\nIf-None-Match: *\r\n\r\n",
    "GET {} HTTP/1.1\r\nhost: test\r\n\r\n",
    "GET {} HTTP/1.1\r\nHOST:test\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost:\t test \t\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: TEST:8080\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET {} HTTP/1.1\r\nHost: other.example\r\n\r\n",
]
