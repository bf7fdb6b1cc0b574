"""mount_static: its options, and how they are served where no sidecar does it.

_options.py   StaticOptions, FileRule: what a mount can be told, checked; as a Mount of the config schema
_pattern.py   one name pattern, the sidecar's grammar; _rules.py: what is served and how it is labelled
_files.py     from a path to a file, a directory or a refusal; blocks, for a thread
_listing.py   a directory as a page or as JSON; _accept.py: what the client asks for
_mount.py     StaticMount: the ASGI app; _types.py: media types
"""

from __future__ import annotations

from catzilla._static._mount import StaticMount
from catzilla._static._options import FileRule, StaticOptions, name_of

__all__ = ["FileRule", "StaticMount", "StaticOptions", "name_of"]
