"""What one client has asked and has not been told yet, message by message of PostgreSQL's protocol.

The proxy sees only the kinds of messages. They tell it when a client and its server connection have nothing left to say
to each other, which is when the connection may be lent to another client.
"""

from __future__ import annotations

from collections import deque

BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE = b"BCDEHP"
COPY_DATA, COPY_DONE, COPY_FAIL = b"dcf"
FUNCTION, QUERY, SYNC, TERMINATE = b"FQSX"

_EXTENDED = frozenset((BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE))
_COPY = frozenset((COPY_DATA, COPY_DONE, COPY_FAIL))
KNOWN = frozenset((QUERY, FUNCTION, SYNC, TERMINATE)) | _EXTENDED | _COPY
BEGINS = (frozenset((QUERY, FUNCTION)) | _EXTENDED) - {FLUSH}  # the others only continue or end something

# Markers in `_awaited` for the end of a COPY: sent before a batch's Sync, or after a simple Query.
_END_OF_BATCHS_COPY, _END_OF_QUERYS_COPY = _COPY_ENDS = (COPY_DONE, COPY_FAIL)


class Conversation:
    """The state of one client's conversation with its server connection."""

    def __init__(self) -> None:
        self.skipping = False  # all messages until Sync, after an error of the proxy's own
        self._awaited: deque[int] = deque()  # what ReadyForQuery is still to come for
        self._in_batch = False  # extended messages were sent, Sync was not
        self._copying = False
        self._own_parse: int | None = None  # so many ReadyForQuery come before a ParseComplete that is the proxy's own

    @property
    def over(self) -> bool:
        """Tell whether everything that was asked is answered."""
        return not self._awaited and not self._in_batch

    # What the client sends.

    def sent(self, kind: int) -> None:
        """Note a message on its way to the server."""
        if kind in (QUERY, FUNCTION):
            self._awaited.append(kind)
        elif kind == SYNC:
            if not self._copying:  # else the server ignores it
                self._in_batch = False
                self._awaited.append(kind)
        elif kind in _EXTENDED:
            self._in_batch = True
        elif kind in (COPY_DONE, COPY_FAIL):
            self._end_copy()

    def skip(self, kind: int) -> bool:
        """Skip a message; tell whether it was the Sync up to which messages are skipped."""
        self.skipping = kind != SYNC
        return not self.skipping

    def insert_parse(self) -> None:
        """Note that the proxy sends a Parse of its own now, whose ParseComplete is not for the client."""
        self._own_parse = sum(awaited not in _COPY_ENDS for awaited in self._awaited)

    def break_off(self) -> tuple[int, bool]:
        """Forget everything; return how many ReadyForQuery the client awaits, and whether a batch of it is open.

        The rest of that batch is to be skipped.
        """
        awaited, in_batch = len(self._awaited), self._in_batch
        self._awaited.clear()
        self.skipping, self._in_batch, self._copying = in_batch, False, False
        return awaited, in_batch

    def leave_server(self) -> None:
        """Note that the server connection is given back."""
        self._own_parse = None

    def _end_copy(self) -> None:
        if self._copying:
            self._copying = False
        elif self._in_batch:  # sent before the server has said that it copies
            self._awaited.append(_END_OF_BATCHS_COPY)
        elif self._awaited:
            self._awaited.append(_END_OF_QUERYS_COPY)

    # What the server sends.

    def answered(self) -> None:
        """Note ReadyForQuery."""
        while self._awaited and self._awaited.popleft() in _COPY_ENDS:
            pass
        while self._awaited and self._awaited[0] == _END_OF_QUERYS_COPY:  # which never began
            self._awaited.popleft()
        if self._own_parse:
            self._own_parse -= 1

    def failed(self) -> None:
        """Note ErrorResponse."""
        self._copying = False
        if self._own_parse == 0:
            self._own_parse = None

    def copying(self) -> None:
        """Note CopyInResponse: until the copy ends the server ignores each Sync, also those under way."""
        waiting = list(self._awaited)
        end = next((index for index, kind in enumerate(waiting) if kind in _COPY_ENDS), None)
        during = waiting[:end]
        self._copying = end is None
        self._in_batch = self._in_batch or (self._copying and SYNC in during)
        self._awaited = deque(kind for kind in during if kind != SYNC)
        if end is not None:
            self._awaited.extend(waiting[end + 1 :])

    def is_own_parse(self) -> bool:
        """Note ParseComplete; tell whether it is for the proxy, not for the client."""
        own = self._own_parse == 0
        if own:
            self._own_parse = None
        return own
