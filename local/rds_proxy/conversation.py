"""What one client has asked and has not been told yet, message by message of PostgreSQL's protocol.

The proxy sees the kinds of messages, and Parse. They tell it when a client and its server connection have nothing left
to say to each other, which is when the connection may be lent to another client, and which unnamed statement the client
has, which the next connection must have too.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ..postgres import wire

BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE = b"BCDEHP"
COPY_DATA, COPY_DONE, COPY_FAIL = b"dcf"
FUNCTION, QUERY, SYNC, TERMINATE = b"FQSX"

EXTENDED = frozenset((BIND, CLOSE, DESCRIBE, EXECUTE, PARSE))
_COPY = frozenset((COPY_DATA, COPY_DONE, COPY_FAIL))
_GET_READY = frozenset((QUERY, FUNCTION, SYNC))  # each is answered by one ReadyForQuery
KNOWN = frozenset((FLUSH, TERMINATE)) | _GET_READY | EXTENDED | _COPY
BEGINS = frozenset((QUERY, FUNCTION)) | EXTENDED  # the others only continue or end something

# What the server says when it is done with a message of the extended protocol, unless it says ErrorResponse.
_DONE_WITH = {PARSE: b"1", BIND: b"2", CLOSE: b"3", DESCRIBE: b"Tn", EXECUTE: b"CsI"}
COMPLETES = frozenset(b"".join(_DONE_WITH.values()))

# Markers in `_awaited` for the end of a COPY: sent before a batch's Sync, or after a simple Query.
_END_OF_BATCHS_COPY, _END_OF_QUERYS_COPY = _COPY_ENDS = (COPY_DONE, COPY_FAIL)


class _Asked(NamedTuple):
    kind: int
    own: bool = False  # of the proxy: the answer is not for the client
    changes: bool = False  # the unnamed statement, to this one or to none
    parse: bytes | None = None


_NOTED = EXTENDED | _GET_READY
_ASKED = {kind: _Asked(kind) for kind in (*_NOTED, *_COPY_ENDS)}
_CLOSE_UNNAMED = wire.message(b"C", b"S\0")


class Conversation:
    """The state of one client's conversation with its server connection."""

    def __init__(self) -> None:
        self.skipping = False  # all messages until Sync, after an error of the proxy's own
        self.unnamed: bytes | None = None  # the Parse of the client's unnamed statement, once all is answered
        self.in_step = False  # the server connection's unnamed statement is this one, once all is answered
        self._awaited: deque[_Asked] = deque()  # what the server has not answered
        self._in_batch = False  # extended messages were sent, Sync was not
        self._server_skips = False  # all messages until Sync, after an error in the batch
        self._copying = False

    @property
    def over(self) -> bool:
        """Tell whether everything that was asked is answered."""
        return not self._awaited and not self._in_batch

    # What the client sends.

    def sent(self, kind: int) -> None:
        """Note a message on its way to the server."""
        if kind == SYNC:
            if not self._copying:  # else the server ignores it
                self._in_batch = self._server_skips = False
                self._awaited.append(_ASKED[SYNC])
        elif kind in _COPY_ENDS:
            self._end_copy()
        elif kind in _NOTED and not self._server_skips:
            self._in_batch = kind in EXTENDED
            self._awaited.append(_ASKED[kind])

    def sent_change(self, kind: int, parse: bytes | None = None, *, sure: bool) -> None:
        """Note a message that makes the unnamed statement or drops it; `sure` when no server refuses it unread."""
        if not self._server_skips:
            self._in_batch = kind in EXTENDED
            self._awaited.append(_Asked(kind, changes=True, parse=parse))
            self.in_step |= sure

    def insert_statement(self) -> bytes:
        """Return the message of the proxy's own that gives the server connection this client's statement, or none.

        It comes before the first message of the extended protocol, so that no error makes the server skip it. Without
        it the client would have the statement of the one before.
        """
        if self.in_step or self._server_skips:
            return b""
        kind = CLOSE if self.unnamed is None else PARSE
        self._in_batch = self.in_step = True
        self._awaited.append(_Asked(kind, own=True))
        return self.unnamed or _CLOSE_UNNAMED

    def skip(self, kind: int) -> bool:
        """Skip a message; tell whether it was the Sync up to which messages are skipped."""
        self.skipping = kind != SYNC
        return not self.skipping

    def break_off(self) -> tuple[int, bool]:
        """Forget everything; return how many ReadyForQuery the client awaits, and whether a batch of it is open.

        The rest of that batch is to be skipped.
        """
        awaited, in_batch = sum(asked.kind in _GET_READY for asked in self._awaited), self._in_batch
        self._awaited.clear()
        self.skipping, self._in_batch, self._server_skips, self._copying = in_batch, False, False, False
        return awaited, in_batch

    def leave_server(self) -> None:
        """Note that the server connection is given back."""
        self.in_step = False

    def _end_copy(self) -> None:
        if self._copying:
            self._copying = False
        elif self._in_batch:  # sent before the server has said that it copies
            self._awaited.append(_ASKED[_END_OF_BATCHS_COPY])
        elif self._awaited:
            self._awaited.append(_ASKED[_END_OF_QUERYS_COPY])

    # What the server sends.

    def completed(self, kind: int) -> bool:
        """Note an answer to a message of the extended protocol; tell whether it is for the client."""
        awaited = self._awaited
        while awaited and awaited[0].kind in _COPY_ENDS:  # of a COPY that never began
            awaited.popleft()
        if not awaited or kind not in _DONE_WITH.get(awaited[0].kind, b""):
            return True  # says more to come, or answers a simple query
        asked = awaited.popleft()
        if asked.changes:
            self.unnamed = asked.parse
        return not asked.own

    def answered(self) -> None:
        """Note ReadyForQuery."""
        awaited = self._awaited
        while awaited:
            kind = awaited.popleft().kind
            if kind in _GET_READY:
                if kind == QUERY:  # which drops the unnamed statement
                    self.unnamed = None
                break
        while awaited and awaited[0].kind == _END_OF_QUERYS_COPY:  # which never began
            awaited.popleft()

    def failed(self) -> None:
        """Note ErrorResponse: after an error in a batch the server skips what it gets until Sync.

        A Parse that is skipped leaves the unnamed statement as it was, one that is refused drops it.
        """
        self._copying = False
        awaited = self._awaited
        while awaited and awaited[0].kind in _COPY_ENDS:
            awaited.popleft()
        if not awaited or awaited[0].kind not in EXTENDED:
            return
        refused = awaited.popleft()
        if refused.kind == PARSE and refused.changes:
            self.unnamed = None
        self.in_step &= not refused.own
        while awaited and awaited[0].kind != SYNC:
            awaited.popleft()
        if not awaited:
            self._server_skips = self._in_batch = True

    def copying(self) -> None:
        """Note CopyInResponse: until the copy ends the server ignores each Sync, also those under way."""
        waiting = list(self._awaited)
        end = next((index for index, asked in enumerate(waiting) if asked.kind in _COPY_ENDS), None)
        during = waiting[:end]
        self._copying = end is None
        self._in_batch = self._in_batch or (self._copying and any(asked.kind == SYNC for asked in during))
        self._awaited = deque(asked for asked in during if asked.kind != SYNC)
        if end is not None:
            self._awaited.extend(waiting[end + 1 :])
