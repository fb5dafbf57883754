"""An HTTP API as it was configured: what a gateway needs to know of it for one request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

DEFAULT_ROUTE = "$default"


@dataclass(frozen=True)
class Throttle:
    """A token bucket: requests a second, and its size."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Jwt:
    """Which tokens a route accepts."""

    issuer: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """One route. `authorization` is NONE, AWS_IAM or JWT; `throttle` is its own, where it has one."""

    key: str
    authorization: str
    function_arn: str
    timeout_seconds: float
    jwt: Jwt | None = None
    throttle: Throttle | None = None

    @property
    def method(self) -> str:
        return self.key.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.key.partition(" ")[2]


@dataclass(frozen=True)
class Cors:
    """What web pages may do; the names of headers and methods in lower and upper case."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    credentials: bool
    max_age_seconds: int | None

    def allows(self, origin: str) -> bool:
        return any(
            allowed in ("*", origin) or (allowed.endswith("://*") and origin.startswith(allowed[:-1]))
            for allowed in self.origins
        )


@dataclass(frozen=True)
class AccessLog:
    """Where the log goes, and the form of its lines."""

    log_group: str
    format: str


@dataclass(frozen=True)
class HttpApi:
    """The $default stage of an API."""

    id: str
    account: str
    region: str
    partition: str
    routes: tuple[Route, ...]
    throttle: Throttle
    cors: Cors | None = None
    access_log: AccessLog | None = None

    @property
    def domain_name(self) -> str:
        return f"{self.id}.execute-api.{self.region}.amazonaws.com"

    def arn(self, method: str, path: str) -> str:
        """Return the resource of execute-api:Invoke."""
        return f"arn:{self.partition}:execute-api:{self.region}:{self.account}:{self.id}/$default/{method}{path}"

    def source_arn(self, route: Route) -> str:
        """Return what aws:SourceArn is where the function is invoked."""
        method, _, path = route.key.partition(" ")
        end = f"{'*' if method == 'ANY' else method}{path}" if path else route.key
        return f"arn:{self.partition}:execute-api:{self.region}:{self.account}:{self.id}/$default/{end}"


def find_route(routes: tuple[Route, ...], method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """Return the route with the most specific match, and the path's variables.

    API Gateway Developer Guide, "Create routes for HTTP APIs": a full match before a greedy one before $default. Among
    full ones, a part that is written out goes before a variable (its example), and here a method before ANY.
    """
    parts = [unquote(part) for part in path.split("/")[1:]]
    found: list[tuple[tuple[object, ...], Route, dict[str, str]]] = []
    for route in routes:
        if route.key != DEFAULT_ROUTE and route.method in ("ANY", method):
            wanted = route.path.split("/")[1:]
            variables = _match(wanted, parts)
            if variables is not None:
                greedy = wanted[-1].endswith("+}")
                kinds = tuple(part.startswith("{") for part in wanted)
                found.append(((greedy, -len(wanted) if greedy else 0, kinds, route.method == "ANY"), route, variables))
    if found:
        _, route, variables = min(found, key=lambda one: one[0])
        return route, variables
    return next(((route, {}) for route in routes if route.key == DEFAULT_ROUTE), None)


def _match(wanted: list[str], parts: list[str]) -> dict[str, str] | None:
    variables: dict[str, str] = {}
    for place, part in enumerate(wanted):
        if greedy := re.fullmatch(r"\{(.+)\+\}", part):
            rest = "/".join(parts[place:])
            return variables | {greedy[1]: rest} if rest else None
        if place >= len(parts):
            return None
        if variable := re.fullmatch(r"\{(.+)\}", part):
            if not parts[place]:
                return None
            variables[variable[1]] = parts[place]
        elif part != parts[place]:
            return None
    return variables if len(wanted) == len(parts) else None
