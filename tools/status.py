"""Print what an environment is at this moment, on one screen: python -m tools.status ROOT TERRAFORM [OPTIONS]."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.database import Database
from tools.doctor.site import NotJudged, Site, StateUnreadable, variables
from tools.doctor.watched import alarms_of
from tools.pipe import quietly

_PAUSED = "not asked: the database is paused, and asking wakes it"


def main(arguments: Sequence[str]) -> str | None:
    """Print a line for each part; return why there is none, if so."""
    root, *terraform = arguments
    site = Site(Path(root), terraform)
    try:
        if not site.outputs:
            return f"{site.environment} is not deployed here: make deploy ENV={site.environment}"
    except StateUnreadable as error:
        return f"The state could not be read: {error}"
    with ThreadPoolExecutor() as threads:
        texts = list(threads.map(lambda part: told(site, part), PARTS.values()))
    for name, text in zip(PARTS, texts, strict=True):
        print(f"{name:<12} {text}")
    return None


def _function(site: Site) -> str:
    function = site.function
    name, version = function["FunctionName"], function["Version"]
    when = str(function.get("LastModified", ""))[:16].replace("T", " ")
    reserved = site.reserved_concurrency
    limit = "" if reserved is None else f", {reserved} reserved"
    return f"{name} version {version} of {when}, {_runtime(function)}{limit}"


def _bootstrap(site: Site) -> str:
    function = site.bootstrap
    return f"{function['FunctionName']}, {_runtime(function)}"


def _endpoint(site: Site) -> str:
    given = variables(site.function)
    reader = f", reads at {given['PGHOST_READER']}" if given.get("PGHOST_READER") else ""
    at = f"{given.get('PGHOST')}:{given.get('PGPORT', '5432')}/{given.get('PGDATABASE')} as {given.get('PGUSER')}"
    return f"{at}{reader}"


def _database(site: Site) -> str:
    database = site.database
    described, version = database.described, database.described["EngineVersion"]
    if database.is_cluster:
        engine = "Aurora PostgreSQL" if database.aurora else "PostgreSQL on three instances"
        size = f"{_size(site)}, {_members(database)}"
    else:
        zones = "two zones" if described.get("MultiAZ") else "one zone"
        engine, size = "PostgreSQL", f"{described['DBInstanceClass']}, {described['AllocatedStorage']} GiB, {zones}"
    return f"{database.name} is {database.status}: {engine} {version}, {size}, at {database.host}"


def _size(site: Site) -> str:
    """Say of which class a cluster's instances are, or how much capacity its writer has."""
    if not site.database.capacity:
        return ", ".join(dict.fromkeys(str(one["DBInstanceClass"]) for one in site.database.instances)) or "no class"
    least, most = site.database.capacity
    try:
        seen = site.capacity
    except (BotoCoreError, ClientError):
        seen = None
    now = "" if seen is None else ", paused now" if seen == 0 else f", {seen:g} now"
    return f"{least:g} to {most:g} ACU{now}"


def _members(database: Database) -> str:
    """Name writer and readers with their zones, and with the state of what is not available."""
    found = []
    for one in database.instances:
        role = "reader" if one in database.readers else "writer"
        status = "" if one["DBInstanceStatus"] == "available" else f" ({one['DBInstanceStatus']})"
        found.append(f"{role} {one['DBInstanceIdentifier']} in {one.get('AvailabilityZone')}{status}")
    return ", ".join(found) or "no instance"


def _proxy(site: Site) -> str:
    proxy = site.proxy
    if proxy is None:
        return f"none: the function connects to the {site.database.word}"
    found = site.client("rds").describe_db_proxy_targets(DBProxyName=proxy["DBProxyName"])["Targets"]
    health = [target.get("TargetHealth", {}) for target in found if target.get("Type") != "TRACKED_CLUSTER"]
    states = [" ".join(filter(None, (state.get("State"), state.get("Reason")))) for state in health]
    return f"{proxy['DBProxyName']} is {proxy['Status']}, its target {', '.join(states) or 'is missing'}"


def _connections(site: Site) -> str:
    if site.paused:
        return _PAUSED
    server = _view(site)["server"]
    return f"{server['connections']} of {server['max_connections']} now"


def _migration(site: Site) -> str:
    if site.paused:
        return _PAUSED
    found = _view(site)["migrations"]
    if "reason" in found:
        return str(found["reason"])
    waiting = f"; pending: {', '.join(found['pending'])}" if found["pending"] else ""
    if not found["last"]:
        return f"none applied{waiting}"
    name, at = found["last"]
    return f"{name} at {at.replace('T', ' ')[:16]}{waiting}"


def _rotation(site: Site) -> str:
    secrets = site.client("secretsmanager")
    parts = []
    for name, variable in (("application", "APPLICATION_SECRET_ARN"), ("master", "MASTER_SECRET_ARN")):
        found = secrets.describe_secret(SecretId=variables(site.bootstrap)[variable])
        last, then = found.get("LastRotatedDate"), found.get("NextRotationDate")
        next_one = f", next {_day(then)}" if then else ""
        parts.append(f"{name} {_day(last) if last else 'never'}{next_one}")
    return "; ".join(parts)


def _alarms(site: Site) -> str:
    states = [(alarm["AlarmName"], alarm["StateValue"]) for alarm in alarms_of(site)]
    ringing = sorted(name for name, state in states if state == "ALARM")
    if not states:
        return "none watches this environment"
    return f"{len(ringing)} of {len(states)} in ALARM{': ' if ringing else ''}{', '.join(ringing)}"


PARTS: dict[str, Callable[[Site], str]] = {
    "function": _function,
    "bootstrap": _bootstrap,
    "connects to": _endpoint,
    "database": _database,
    "proxy": _proxy,
    "connections": _connections,
    "migration": _migration,
    "rotation": _rotation,
    "alarms": _alarms,
}


def told(site: Site, part: Callable[[Site], str]) -> str:
    """Return a part's text, or why there is none: one part that cannot be seen hides no other."""
    try:
        return part(site)
    except (NotJudged, BotoCoreError, ClientError) as error:
        return f"unknown: {error}"


def _view(site: Site) -> dict[str, Any]:
    view = site.database_view
    if "server" not in view:
        raise NotJudged(str(view.get("reason")))
    return view


def _runtime(function: dict[str, Any]) -> str:
    architecture = function.get("Architectures", ["x86_64"])[0]
    return f"{function['Runtime']} {architecture}, {function.get('State', 'Active')}"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


if __name__ == "__main__":
    quietly(main, sys.argv[1:])
