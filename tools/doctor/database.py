"""The database, an instance or a cluster, and its proxy: whether they serve, and which changes wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.await_target import IN_PLAIN_WORDS
from tools.database import Database, Described
from tools.doctor.finding import Finding, ok, wrong
from tools.doctor.pausing import RESUME
from tools.doctor.site import Site, variables
from tools.reboot import HOPELESS

# RDS User Guide, accessing-monitoring; Aurora User Guide, Aurora.Status: in these an instance or a cluster serves.
SERVING = {
    "available",
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "maintenance",
    "modifying",
    "storage-config-upgrade",
    "storage-initialization",
    "storage-optimization",
    "update-iam-db-auth",
}
FIX_BY_REASON = {
    "UNREACHABLE": "Look at the network ACLs between the proxy's subnets and the database's.",
    "CONNECTION_FAILED": "Free connections: end sessions that nobody needs, or take a larger instance class.",
    "AUTH_FAILURE": "make migrate ENV={environment} sets the password in the database and the secret again.",
    "PENDING_PROXY_CAPACITY": "Wait: it takes minutes.",
}
ADDED_BY_AWS = "application-autoscaling-"  # Application Auto Scaling's readers, which come and go
RESERVED = 5  # connections that modules/cluster takes as kept for administrators, as on an instance


def target(site: Site) -> Finding:
    """See that the database serves, and that the proxy has it as its target and reaches it."""
    database, proxy = site.database, site.proxy
    if problem := _not_serving(database, site.environment):
        return problem
    if proxy is not None and (problem := _not_led(site, database.name, proxy)):
        return problem
    how = "without a proxy" if proxy is None else "its proxy's target is AVAILABLE"
    paused = f", paused: 0 ACU, the next connection waits {RESUME}" if site.paused else ""
    return ok(f"{database.name} is {database.status}, {how}{paused}")


def readers(site: Site) -> Finding:
    """See that a cluster has the readers that it was given, in another zone than its writer, and that they serve."""
    database = site.database
    if not database.is_cluster:
        return ok("none: a single instance")
    if problem := _missing_reader(site) or _silent_reader(site) or _same_zone(site):
        return problem
    if not database.readers:
        return ok("none: while the writer is gone, nothing answers")
    zones = dict.fromkeys(str(one.get("AvailabilityZone")) for one in database.instances)
    names = ", ".join(one["DBInstanceIdentifier"] for one in database.readers)
    return ok(f"{names}; in {', '.join(zones)}, the writer's first")


def pending(site: Site) -> Finding:
    """See that no parameter waits for a restart, no change for the window, and that a cluster has what it was told."""
    database = site.database
    if unread := list(dict.fromkeys(_unread(database))):
        return wrong(
            f"Parameters of {', '.join(unread)} wait for a reboot.",
            f"make reboot ENV={site.environment} puts them in force; it cuts every connection for about a minute.",
        )
    waiting = dict(_waiting(database))
    if waiting:
        what = ", ".join(f"{name} {value}" for name, value in waiting.items())
        return wrong(
            f"Waits for the window {database.described['PreferredMaintenanceWindow']} (UTC): {what}.",
            f'Wait for it, or apply changes.apply = "now" in the {"cluster" if database.is_cluster else "database"} '
            "module.",
        )
    if database.is_cluster and (problem := _not_as_told(site)):
        return problem
    return ok(f"{database.name} runs with all that it was told")


# --- of the proxy and its targets ---


def _not_led(site: Site, name: str, proxy: Mapping[str, Any]) -> Finding | None:
    """Say why the proxy does not reach the database."""
    if proxy["Status"] not in ("available", "modifying"):
        return wrong(f"The proxy {proxy['DBProxyName']} is {proxy['Status']}.", f"make deploy ENV={site.environment}.")
    targets = _targets(site, proxy)
    registered = [found.get("RdsResourceId") for found in targets]
    if name not in [*registered, *(found.get("TrackedClusterId") for found in targets)]:
        others = f", but {', '.join(map(str, registered))}" if registered else ""
        return wrong(
            f"The proxy {proxy['DBProxyName']} has not {name} as its target{others}.",
            f"make deploy ENV={site.environment} registers it again.",
        )
    return _unhealthy(site, [found for found in targets if found.get("Role") != "READ_ONLY"])


def _targets(site: Site, proxy: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(site.client("rds").describe_db_proxy_targets(DBProxyName=proxy["DBProxyName"])["Targets"])


def _unhealthy(site: Site, targets: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Say why the first of these targets that is not AVAILABLE is not."""
    for found in targets:
        health = found.get("TargetHealth", {})
        state, reason = health.get("State", "unknown"), health.get("Reason", "")
        if found.get("Type") != "TRACKED_CLUSTER" and state != "AVAILABLE":
            words = IN_PLAIN_WORDS.get(reason or state, "AWS gives no reason").partition(":")[0]
            said = f": {health['Description']}" if health.get("Description") else ""
            reader = f", of the reader {found['RdsResourceId']}" if found.get("Role") == "READ_ONLY" else ""
            return wrong(
                f"{words[0].upper()}{words[1:]} ({' '.join(filter(None, (state, reason)))}{said}){reader}.",
                FIX_BY_REASON.get(reason, "Wait: it takes minutes.").format(environment=site.environment),
                follows=("target", "subnets", "rules", "policy", "secret", "login")
                if reader
                else ("subnets", "rules", "policy", "secret", "login"),
            )
    return None


# --- of the database and its instances ---


def _not_serving(database: Database, environment: str) -> Finding | None:
    """Say what keeps the instance, or the cluster and its writer, from serving."""
    name, status = database.name, database.status
    if status not in SERVING:
        fix = HOPELESS.get(status, "Wait until it is available.")
        if database.is_cluster:
            return wrong(f"The cluster {name} is {status}.", fix)
        return wrong(f"The instance {name} is {status}.", fix)
    return _no_writer(database, environment) if database.is_cluster else None


def _no_writer(database: Database, environment: str) -> Finding | None:
    name = database.name
    if not database.members:
        return wrong(f"The cluster {name} has no instance.", f"make deploy ENV={environment} makes it again.")
    if database.writer is None:
        return wrong(
            f"The cluster {name} has no writer.",
            "Wait a minute for the failover; then aws rds describe-events --source-type db-cluster "
            f"--source-identifier {name} --duration 60.",
        )
    writer, status = database.writer["DBInstanceIdentifier"], database.writer["DBInstanceStatus"]
    if status not in SERVING:
        fix = HOPELESS.get(status, "Wait until it is available.")
        if database.readers:
            fix += f" Or let a reader take over: aws rds failover-db-cluster --db-cluster-identifier {name}."
        return wrong(f"The writer {writer} is {status}.", fix)
    return None


def _missing_reader(site: Site) -> Finding | None:
    database, again = site.database, f"make deploy ENV={site.environment} makes it again."
    meant = {
        member["identifier"]
        for member in site.of_type("aws_rds_cluster_instance")
        if member.get("cluster_identifier") == database.name
    }
    if missing := sorted(meant - database.members.keys()):
        return wrong(
            f"The cluster {database.name} has lost its instance {', '.join(missing)}.", again, follows=("target",)
        )
    if not database.readers and variables(site.function).get("PGHOST_READER"):
        return wrong(
            f"The function reads from readers, but {database.name} has none: its writer answers.",
            f"Give the cluster one: readers, then make deploy ENV={site.environment}.",
            follows=("target",),
        )
    return None


def _silent_reader(site: Site) -> Finding | None:
    """Say which reader does not serve, or why the proxy does not reach it."""
    for reader in site.database.readers:
        name, status = reader["DBInstanceIdentifier"], reader["DBInstanceStatus"]
        scales = name.startswith(ADDED_BY_AWS) and status in ("creating", "deleting")
        if status not in SERVING and not scales:
            fix = HOPELESS.get(status, "Wait until it is available.")
            return wrong(f"The reader {name} is {status}.", fix, follows=("target",))
    if site.proxy is None:
        return None
    return _unhealthy(site, [found for found in _targets(site, site.proxy) if found.get("Role") == "READ_ONLY"])


def _same_zone(site: Site) -> Finding | None:
    database = site.database
    zones = {str(one.get("AvailabilityZone")) for one in database.instances}
    if not database.readers or len(zones) > 1:
        return None
    return wrong(
        f"All instances of {database.name} are in one zone, {zones.pop()}: they fail together.",
        "Give the network two zones, and zone_names where it is not modules/network; then make deploy "
        f"ENV={site.environment} moves a reader.",
    )


# --- what waits ---


def _unread(database: Database) -> Iterator[str]:
    """Yield the groups whose parameters an instance has yet to read."""
    for member in database.members.values():
        if member.get("DBClusterParameterGroupStatus", "in-sync") != "in-sync":
            yield str(database.described["DBClusterParameterGroup"])
    for instance in database.instances:
        for group in instance.get("DBParameterGroups", []):
            if group["ParameterApplyStatus"] != "in-sync":
                yield str(group["DBParameterGroupName"])


def _waiting(database: Database) -> Iterator[tuple[str, Any]]:
    described: list[tuple[str, Described]] = [("", database.described)]
    if database.is_cluster:
        described += [(f"{one['DBInstanceIdentifier']} ", one) for one in database.instances]
    for whose, one in described:
        for name, value in one.get("PendingModifiedValues", {}).items():
            if value not in ({}, []):
                yield f"{whose}{name}", value


def _not_as_told(site: Site) -> Finding | None:
    """Compare a cluster with its state, and its server with what the plans reckon with."""
    database, again = site.database, f"make deploy ENV={site.environment} sets it again."
    for told in site.of_type("aws_rds_cluster"):
        if told.get("cluster_identifier") != database.name:
            continue
        group, meant = database.described.get("DBClusterParameterGroup"), told.get("db_cluster_parameter_group_name")
        if meant and group != meant:
            return wrong(f"The cluster {database.name} has the parameter group {group}, not {meant}.", again)
        exported = database.described.get("EnabledCloudwatchLogsExports", [])
        if missing := sorted(set(told.get("enabled_cloudwatch_logs_exports") or []) - set(exported)):
            return wrong(f"The cluster {database.name} exports no log {', '.join(missing)}.", again)
    return _smaller_than_reckoned(site)


def _smaller_than_reckoned(site: Site) -> Finding | None:
    """Hold max_connections of the server, and what it keeps back, against the numbers of modules/cluster."""
    server = site.known_view("database_view").get("server", {})
    remembered = [
        thing["input"]["value"]["max_connections"]
        for thing in site.of_type("terraform_data")
        if "max_connections" in _map(thing.get("input") or {})
    ]
    most = server.get("max_connections")
    if most and len(remembered) == 1 and most < remembered[0]:
        return wrong(
            f"The server takes {most} connections, but plans reckon with {remembered[0]:g}.",
            "Set max_connections of the cluster module, or for db.serverless a larger capacity.max_acu; then make "
            f"deploy and make reboot ENV={site.environment}.",
        )
    reserved = server.get("reserved", {})
    if sum(reserved.values()) > RESERVED:
        which = ", ".join(f"{name} {count}" for name, count in reserved.items() if count)
        return wrong(
            f"The server keeps {sum(reserved.values())} connections for administrators, but plans reckon with "
            f"{RESERVED}: {which}.",
            "Keep as many more free: lower the functions' reserved_concurrency or shares.",
        )
    return None


def _map(given: Mapping[str, Any]) -> Mapping[str, Any]:
    value = given.get("value")
    return value if isinstance(value, dict) else {}
