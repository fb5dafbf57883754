"""moto's classes, with what is replaced in them while the control plane runs."""

from __future__ import annotations

import secrets
import string
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

# jsonschema, which moto's API Gateway imports, would compile a grammar of IRIs for seconds; nothing here checks one.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

Method = Callable[..., Any]


class Moto:
    """moto's classes, with what was replaced in them put back by `restore`."""

    def __init__(self) -> None:
        self._replaced = ExitStack()

    def set(self, owner: Any, name: str, value: object) -> None:
        if name in vars(owner):
            self._replaced.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._replaced.callback(delattr, owner, name)
        setattr(owner, name, value)

    def around(self, owner: type, name: str) -> Callable[[Method], Method]:
        """Decorate a function that is called in a method's place, with the original as its first argument."""
        original = getattr(owner, name)

        def decorate(function: Method) -> Method:
            def method(self: Any, *args: Any, **kwargs: Any) -> Any:
                return function(original, self, *args, **kwargs)

            self.set(owner, name, method)
            return function

        return decorate

    def add(self, owner: type) -> Callable[[Method], Method]:
        """Decorate a function that becomes a method of its own name."""

        def decorate(function: Method) -> Method:
            self.set(owner, function.__name__, function)
            return function

        return decorate

    def restore(self) -> None:
        self._replaced.close()


def random_id(length: int, alphabet: str = string.ascii_lowercase + string.digits) -> str:
    """Return random characters, as AWS's ids have them."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def every(backends: Any) -> Iterator[Any]:
    """Yield a service's backend of each account and region."""
    for account in list(backends.values()):
        yield from list(account.values())
