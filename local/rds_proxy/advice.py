"""What to write instead of a statement that pins: for the reports of the stand-in, and for docs/pinning.md."""

import re
from dataclasses import dataclass

from .pinning import NAMED, TOO_LONG


@dataclass(frozen=True)
class Advice:
    """One row of the page: which statements it is about, in Markdown, and what to write instead of them.

    It is for the reasons that match `reason`, as far as the statement matches `shape`.
    """

    reason: str
    statements: str
    instead: str
    shape: str = ""


# The first that fits is the one: what is special comes before what is general.
ADVICE = (
    Advice(
        "SET: ",
        "`SET SESSION CHARACTERISTICS …`, psycopg2's `set_session()` in autocommit",
        "`transaction(context, read_only=True, isolation=…)`, which goes into BEGIN",
        r"set\s+(session\s+characteristics|(session\s+)?default_transaction_|transaction\b)",
    ),
    Advice(
        "SET: ", "`SET ROLE …`", "`pool.init_query` of the proxy module, or a user with that role", r"(re)?set\s+role"
    ),
    Advice(
        "SET: |set_config: ",
        "`SET LOCAL …`, `set_config(…, true)`",
        "unsettled: AWS exempts them for MySQL only; the guard reports them. They leave nothing in the session",
        r"set\s+local|.*\bset_config\s*\([^()]*,\s*true\s*\)",
    ),
    Advice(
        "SET: |set_config: ",
        "`SET timezone = …`, `RESET …`, `set_config(…, false)`",
        "`ALTER ROLE … SET …` in a migration or `application.settings`; a parameter of the instance",
    ),
    Advice("SQL-level", "`PREPARE`, `EXECUTE`, `DEALLOCATE`", "plain statements with parameters"),
    Advice(
        NAMED,
        "a prepared statement that the driver names",
        "psycopg 3: `prepare_threshold=None`; asyncpg: `statement_cache_size=0`. Unsettled: since 2023 AWS shares "
        "connections in the extended protocol, and may do so here",
    ),
    Advice(
        "DISCARD: ",
        "`DISCARD ALL`, psycopg2's `reset()`",
        "nothing: the library gives the next borrower a clean connection. In a pool of another library, no reset query",
    ),
    Advice(
        "a temporary ",
        "`CREATE TEMP TABLE`, `SELECT … INTO TEMP`, anything in `pg_temp`",
        "a common table expression, `VALUES`, or `unnest` of arrays",
    ),
    Advice(
        "DECLARE: ",
        '`DECLARE … CURSOR`, psycopg2\'s `cursor("name")`',
        "a client-side cursor with `LIMIT` and a condition on the last key",
    ),
    Advice("LISTEN", "`LISTEN`", "a queue; or a function that connects directly"),
    Advice("LOAD: ", "`LOAD`", "the parameter `shared_preload_libraries`"),
    Advice("nextval", "`nextval(…)`, `setval(…)`", "an identity column and `RETURNING`"),
    Advice(
        "a session-level advisory lock",
        "`pg_advisory_lock(…)`, `pg_try_advisory_lock(…)`",
        "`pg_advisory_xact_lock(…)`, `pg_try_advisory_xact_lock(…)`",
    ),
    Advice(TOO_LONG, "a statement of more than 16 KB", "`execute_values` with a smaller `page_size`; `COPY`"),
)


def what_instead(reason: str, statement: str) -> str:
    """Return what to write instead of this statement, in plain text."""
    fitting = next(
        advice
        for advice in ADVICE
        if re.match(advice.reason, reason) and (not advice.shape or _sends(advice.shape, statement))
    )
    return fitting.instead.replace("`", "")


def table() -> str:
    """Return the table of docs/pinning.md."""
    rows = [f"| {advice.statements} | {advice.instead} |" for advice in ADVICE]
    return "\n".join(["| statement | instead |", "|---|---|", *rows])


def _sends(shape: str, statement: str) -> bool:
    return any(re.match(shape, part.strip(), re.IGNORECASE) for part in statement.split(";"))
