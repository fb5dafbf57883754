"""The order of the tests, and what they inherit from whoever starts them."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from local.postgres.installation import Installation, find_binaries

# Where a file is kept in memory, and the room there that the tests of `make test` never fill.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 (mkdtemp makes the names there)
_ENOUGH_BYTES = 4 << 30


def pytest_configure() -> None:
    """Take signals as at a terminal, and let Terraform collect its garbage seldom.

    A background shell, or nohup, lets its children ignore Ctrl-C, and theirs too. Reading the provider's schema at each
    command makes garbage that is not worth collecting: a quarter less time for 200 MB more.
    """
    os.environ.setdefault("GOGC", "400")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Spare the disk the 300 files of each test's database, where a program can be run from memory and there is enough.

    What pytest keeps after the tests stays on the disk.
    """
    if session.config.getoption("markexpr") != "not applied" or "TMPDIR" in os.environ:
        return
    if not _IN_MEMORY.is_dir() or os.statvfs(_IN_MEMORY).f_flag & os.ST_NOEXEC:
        return
    if shutil.disk_usage(_IN_MEMORY).free >= _ENOUGH_BYTES and os.access(_IN_MEMORY, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage only in what comes after: what is imported stays, and there is much of it."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


# They apply whole modules, break them, and wait for the provider, or try an example, or fail over to a standby, which
# takes long too: `make test-examples`, and not `make test`.
APPLIED = (
    "tests/terraform/test_apply.py",
    "tests/examples/test_platform.py",
    "tests/examples/test_aurora.py",
    "tests/terraform/test_restore.py",
    "tests/tools/doctor/test_faults.py",
    "tests/terraform/test_order_of_removal.py",
    "tests/terraform/test_second_apply.py",
    "tests/examples/test_own_function_applied.py",
    "tests/examples/test_frameworks_applied.py",
    "tests/modules/test_alarms_go_off.py",
    "tests/modules/test_database_adopted.py",
    "tests/modules/test_database_changes.py",
    "tests/modules/test_database_window.py",
    "tests/local/test_service.py",
    "tests/local/test_rotation.py",
    "tests/terraform/test_failed_migration.py",
    "tests/examples/test_users_api.py",
    "tests/examples/test_existing_database.py",
    "tests/lambda/layer/test_failover.py",
    "tests/local/postgres/test_standby.py",
    "tests/local/test_clusters.py",
)


# Of the others, those that take longest, so that no worker begins one of them when the rest are at their end.
LONG = (
    "tests/lambda/bootstrap/test_cut_short.py",
    "tests/policies/test_policies.py",
    "tests/test_make.py",
    "tests/modules/test_refusals.py",
    "tests/lambda/bootstrap/test_users.py",
    "tests/lambda/bootstrap/test_rotation.py",
    "tests/lambda/layer/test_through_pgbouncer.py",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what will not run: each worker would."""
    if collection_path.suffix != ".py":
        return None
    applied = str(collection_path.relative_to(config.rootpath)) in APPLIED
    return {"applied": not applied, "not applied": applied}.get(config.getoption("markexpr")) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what applies, and begin with the longest."""
    order = {path: number for number, path in enumerate((*APPLIED, *LONG))}
    for item in items:
        if item.nodeid.partition("::")[0] in APPLIED:
            item.add_marker("applied")
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.fixture(scope="session", autouse=True)
def data_folder() -> Iterator[None]:
    """Keep what each server begins with a copy of, for all files: to make it takes a second."""
    installation = Installation.acquire(find_binaries())
    yield
    installation.release()
