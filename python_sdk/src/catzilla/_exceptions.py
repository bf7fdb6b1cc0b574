"""What can go wrong in Catzilla itself. Foreign errors are translated into these at the edge."""

from __future__ import annotations


class CatzillaError(Exception):
    """The root. Its text is one sentence that names the remedy."""


class ConfigurationError(CatzillaError):
    """The app or the command line asks for something that cannot be."""


class AppLoadError(CatzillaError):
    """The app could not be imported or did not start. `details` is the traceback, for people."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class SidecarError(CatzillaError):
    """The sidecar is missing, does not start or does not answer."""


class LinkError(CatzillaError):
    """The worker link is over: the sidecar has closed it, refused it, or broken its rules."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
