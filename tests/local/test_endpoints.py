"""The file in which others find where a host name leads."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from local.certificates import Certificates
from local.endpoints import Endpoints


def test_whoever_reads_the_file_while_it_is_written_finds_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    endpoints = Endpoints(file, Certificates(tmp_path / "certificates"))
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            endpoints.lead({})

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(2000):
            assert json.loads(file.read_text()) == {}
    finally:
        over.set()
        writing.join()
        endpoints.stop()
    assert list(tmp_path.glob("endpoints*")) == []
