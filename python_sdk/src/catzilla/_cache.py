"""@cache: answers of a route that the sidecar may keep and give again without waking Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from catzilla._exceptions import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE: Final = "__catzilla_cache__"
_TAG: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,128}")  # No space, no comma: they separate tags in headers.
_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_TAGS_MAX: Final = 64
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What @cache says of a handler."""

    ttl: float  # Seconds.
    tags: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()  # Lower-case names of request headers.
    cookies: Literal["bypass", "ignore"] = "bypass"  # What a request that carries some gets.

    @property
    def ignores_cookies(self) -> bool:
        """Requests with cookies are served from the cache, too: they choose nothing, or `vary` keeps them apart."""
        return self.cookies == "ignore" or "cookie" in self.vary

    @property
    def ttl_text(self) -> str:
        """As the control plane writes durations."""
        milliseconds = round(self.ttl * 1000)
        return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def cache(
    *,
    ttl: float | str,
    tags: Iterable[str] = (),
    vary: Iterable[str] = (),
    cookies: Literal["bypass", "ignore"] = "bypass",
) -> Callable[[F], F]:
    """Lets the sidecar keep this route's answers.

    `ttl`: how long they are fresh, in seconds or as "30s", "5m", unless the answer's own Cache-Control says
    otherwise. `tags`: put on every stored answer, for `catzillactl cache purge --tag`. `vary`: request headers on
    which the answer depends; they are sent as the answer's Vary. `cookies`: a request that carries cookies goes
    past the cache to the app, whose answer may be made for that client; "ignore" says that no answer depends on
    them. With "cookie" in `vary` each Cookie header has answers of its own.

    Goes below the route's decorator. Only for GET; refused when the app is loaded if the route reads cookies,
    security schemes, or headers that `vary` does not name. Without a sidecar it does nothing.
    """
    policy = CachePolicy(_seconds(ttl), tuple(tags), tuple(name.lower() for name in vary), cookies)
    if cookies not in ("bypass", "ignore"):
        raise ConfigurationError(f'@cache: cookies={cookies!r}: use "bypass" or "ignore"')
    if len(policy.tags) > _TAGS_MAX:
        raise ConfigurationError(f"@cache: {len(policy.tags)} tags, at most {_TAGS_MAX} can be stored")
    for tag in policy.tags:
        if not _TAG.fullmatch(tag):
            raise ConfigurationError(f"@cache: {tag!r} is no tag: use 1 to 128 printable ASCII characters, no comma")
    for name in policy.vary:
        if not _FIELD.fullmatch(name):
            raise ConfigurationError(f"@cache: vary names {name!r}, which is no header field")

    def decorate(handler: F) -> F:
        setattr(handler, ATTRIBUTE, policy)
        return handler

    return decorate


def policy_of(handler: Any) -> CachePolicy | None:
    policy = getattr(handler, ATTRIBUTE, None)
    return policy if isinstance(policy, CachePolicy) else None


def _seconds(ttl: float | str) -> float:
    seconds: float | None = None
    if isinstance(ttl, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", ttl)
        if match is not None:
            seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(ttl, int | float) and not isinstance(ttl, bool):
        seconds = float(ttl)
    if seconds is None or not 0 < seconds <= 365 * 86400:
        raise ConfigurationError(f'@cache: ttl={ttl!r} is no duration: use seconds above 0, or "30s", "5m", "1h"')
    return seconds
