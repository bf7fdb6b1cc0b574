"""Media types by extension: the sidecar's table (sidecar/files/mime.cc), so that both say the same everywhere.

Python's own guesses follow the machine's /etc/mime.types. A test compares the two tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = "application/octet-stream"
BUILT_IN_CHARSET: Final = "; charset=utf-8"
_EXTENSION_BYTES_MAX: Final = 32

# Media type: its extensions. Text types are sent with a charset.
_TYPES: Final = """
application/atom+xml: atom
application/cbor: cbor
application/dash+xml: mpd
application/epub+zip: epub
application/geo+json: geojson
application/gpx+xml: gpx
application/gzip: gz tgz
application/java-archive: jar
application/json: json map
application/json5: json5
application/ld+json: jsonld
application/manifest+json: webmanifest
application/msword: doc
application/octet-stream: bin exe img
application/ogg: ogx
application/pdf: pdf
application/pkix-cert: cer
application/pkix-crl: crl
application/postscript: ai ps
application/rdf+xml: rdf
application/rss+xml: rss
application/rtf: rtf
application/sql: sql
application/toml: toml
application/vnd.amazon.ebook: azw
application/vnd.android.package-archive: apk
application/vnd.apache.parquet: parquet
application/vnd.apple.mpegurl: m3u8
application/vnd.debian.binary-package: deb
application/vnd.google-earth.kml+xml: kml
application/vnd.google-earth.kmz: kmz
application/vnd.ms-cab-compressed: cab
application/vnd.ms-excel: xls
application/vnd.ms-fontobject: eot
application/vnd.ms-powerpoint: ppt
application/vnd.oasis.opendocument.graphics: odg
application/vnd.oasis.opendocument.presentation: odp
application/vnd.oasis.opendocument.spreadsheet: ods
application/vnd.oasis.opendocument.text: odt
application/vnd.openxmlformats-officedocument.presentationml.presentation: pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet: xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document: docx
application/vnd.rar: rar
application/vnd.sqlite3: sqlite
application/vnd.visio: vsd
application/wasm: wasm
application/wsdl+xml: wsdl
application/x-7z-compressed: 7z
application/x-apple-diskimage: dmg
application/x-bittorrent: torrent
application/x-brotli: br
application/x-bzip2: bz2
application/x-chrome-extension: crx
application/x-iso9660-image: iso
application/x-lz4: lz4
application/x-mobipocket-ebook: mobi prc
application/x-msi: msi
application/x-ndjson: ndjson
application/x-pem-file: pem
application/x-pkcs12: p12
application/x-rpm: rpm
application/x-sh: sh
application/x-shockwave-flash: swf
application/x-subrip: srt
application/x-tar: tar
application/x-tcl: tcl
application/x-tex: tex
application/x-x509-ca-cert: crt der
application/x-xpinstall: xpi
application/x-xz: xz
application/xhtml+xml: xht xhtml
application/xml: xml xsd
application/xml-dtd: dtd
application/xslt+xml: xsl xslt
application/xspf+xml: xspf
application/yaml: yaml yml
application/zip: whl zip
application/zstd: zst
audio/aac: aac
audio/flac: flac
audio/midi: kar mid midi
audio/mp4: m4a
audio/mpeg: mp3 mpga
audio/ogg: oga ogg
audio/opus: opus
audio/wav: wav
audio/webm: weba
audio/x-aiff: aif aifc aiff
audio/x-matroska: mka
audio/x-mpegurl: m3u
audio/x-ms-wma: wma
audio/x-realaudio: ra
font/collection: ttc
font/otf: otf
font/ttf: ttf
font/woff: woff
font/woff2: woff2
image/apng: apng
image/avif: avif
image/avif-sequence: avifs
image/bmp: bmp
image/gif: gif
image/heic: heic
image/heif: heif
image/jp2: jp2
image/jpeg: jfif jpe jpeg jpg
image/jxl: jxl
image/ktx2: ktx2
image/png: png
image/svg+xml: svg
image/tiff: tif tiff
image/vnd.adobe.photoshop: psd
image/vnd.wap.wbmp: wbmp
image/webp: webp
image/x-adobe-dng: dng
image/x-icon: cur ico
image/x-xbitmap: xbm
message/rfc822: eml
model/gltf+json: gltf
model/gltf-binary: glb
model/obj: obj
model/ply: ply
model/stl: stl
model/vnd.collada+xml: dae
model/vnd.usdz+zip: usdz
text/cache-manifest: appcache
text/calendar: ics
text/css: css
text/csv: csv
text/html: htm html shtml
text/javascript: cjs js mjs
text/markdown: markdown md
text/mathml: mml
text/plain: asc conf ini log text txt
text/tab-separated-values: tsv
text/vcard: vcard vcf
text/vnd.sun.j2me.app-descriptor: jad
text/vtt: vtt
text/x-component: htc
text/x-diff: diff patch
text/x-python: py
text/x-rst: rst
video/3gpp: 3gp
video/3gpp2: 3g2
video/mp2t: ts
video/mp4: m4v mp4
video/mpeg: mpeg mpg
video/ogg: ogv
video/quicktime: mov
video/webm: webm
video/x-flv: flv
video/x-matroska: mkv
video/x-mng: mng
video/x-ms-asf: asf
video/x-ms-wmv: wmv
video/x-msvideo: avi
"""


def _rows() -> dict[str, str]:
    rows = {}
    for line in _TYPES.split("\n"):
        kind, _, extensions = line.partition(": ")
        full = kind + BUILT_IN_CHARSET if kind.startswith("text/") else kind
        rows.update(dict.fromkeys(extensions.split(), full))
    return rows


TYPES: Final = _rows()


def media_type(name: str, overrides: Mapping[str, str]) -> str:
    """Of a file name or path; `overrides` has lower-case extensions."""
    _, dot, extension = name.rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    if not dot or not extension or len(extension.encode("utf-8", "surrogateescape")) > _EXTENSION_BYTES_MAX:
        return UNKNOWN
    return overrides.get(extension) or TYPES.get(extension, UNKNOWN)
