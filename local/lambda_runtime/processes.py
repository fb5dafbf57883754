"""Which process is meant by a number, and who holds the other end of a connection on this machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"
_READINGS = 10  # the table is read in pieces: while others open and close connections, one reading may miss a line


def began(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one of the same number; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    else:
        return None if fields[0] in "ZX" else fields[19]
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip() or None


def is_own(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Tell whether a connection on 127.0.0.1 comes from a process of this user; True where the system does not say.

    Linux does, in /proc/net/tcp (proc_pid_net(5)). A client that has closed its end counts as a stranger: the table
    then names root in place of its user.
    """
    ends = [_hex(client), _hex(server)]
    for _ in range(_READINGS):
        try:
            lines = _TABLE.read_text().splitlines()[1:]
        except OSError:
            return True
        for fields in map(str.split, lines):
            if fields[1:3] == ends:
                return fields[3] == _ESTABLISHED and int(fields[7]) == os.geteuid()
        time.sleep(0.02)
    return False


def _hex(address: tuple[str, int]) -> str:
    host = int.from_bytes(bytes(map(int, address[0].split("."))), sys.byteorder)
    return f"{host:08X}:{address[1]:04X}"
