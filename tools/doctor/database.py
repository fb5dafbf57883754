"""The database and its proxy: whether they serve, and which changes wait."""

from __future__ import annotations

from tools.await_target import IN_PLAIN_WORDS
from tools.doctor.finding import Finding, ok, wrong
from tools.doctor.site import INSTANCE, Site
from tools.reboot import HOPELESS

# RDS User Guide, accessing-monitoring: in these the instance serves.
SERVING = {
    "available",
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "modifying",
    "storage-config-upgrade",
    "storage-initialization",
    "storage-optimization",
}
FIX_BY_REASON = {
    "UNREACHABLE": "Look at the network ACLs between the proxy's subnets and the database's.",
    "CONNECTION_FAILED": "Free connections: end sessions that nobody needs, or take a larger instance class.",
    "AUTH_FAILURE": "make migrate ENV={environment} sets the password in the database and the secret again.",
    "PENDING_PROXY_CAPACITY": "Wait: it takes minutes.",
}


def target(site: Site) -> Finding:
    """See that the instance serves, and that the proxy has it as its target and reaches it."""
    instance, proxy, environment = site.instance, site.proxy, site.environment
    name, status = instance["DBInstanceIdentifier"], instance["DBInstanceStatus"]
    if status not in SERVING:
        return wrong(f"The instance {name} is {status}.", HOPELESS.get(status, "Wait until it is available."))
    if proxy is None:
        return ok(f"{name} is {status}, without a proxy")
    if proxy["Status"] not in ("available", "modifying"):
        return wrong(f"The proxy {proxy['DBProxyName']} is {proxy['Status']}.", f"make deploy ENV={environment}.")
    targets = site.client("rds").describe_db_proxy_targets(DBProxyName=proxy["DBProxyName"])["Targets"]
    registered = [found.get("RdsResourceId") for found in targets]
    if name not in registered:
        others = f", but {', '.join(map(str, registered))}" if registered else ""
        return wrong(
            f"The proxy {proxy['DBProxyName']} has not {name} as its target{others}.",
            f"make deploy ENV={environment} registers it again.",
        )
    for health in (found.get("TargetHealth", {}) for found in targets if found.get("Type") != "TRACKED_CLUSTER"):
        state, reason = health.get("State", "unknown"), health.get("Reason", "")
        if state != "AVAILABLE":
            words = IN_PLAIN_WORDS.get(reason or state, "AWS gives no reason").partition(":")[0]
            said = f": {health['Description']}" if health.get("Description") else ""
            return wrong(
                f"{words[0].upper()}{words[1:]} ({' '.join(filter(None, (state, reason)))}{said}).",
                FIX_BY_REASON.get(reason, "Wait: it takes minutes.").format(environment=environment),
                follows=("subnets", "rules", "policy", "secret", "login"),
            )
    return ok(f"{name} is {status}, its proxy's target is AVAILABLE")


def pending(site: Site) -> Finding:
    """See that no parameter waits for a reboot, and no change for the maintenance window."""
    instance = site.instance
    unread = [
        group["DBParameterGroupName"]
        for group in instance["DBParameterGroups"]
        if group["ParameterApplyStatus"] != "in-sync"
    ]
    if unread:
        return wrong(
            f"Parameters of {', '.join(unread)} wait for a reboot.",
            f"make reboot ENV={site.environment} puts them in force; it cuts every connection for about a minute.",
        )
    waiting = {
        name: value for name, value in instance.get("PendingModifiedValues", {}).items() if value not in ({}, [])
    }
    if waiting:
        what = ", ".join(f"{name} {value}" for name, value in waiting.items())
        return wrong(
            f"Waits for the window {instance['PreferredMaintenanceWindow']} (UTC): {what}.",
            'Wait for it, or apply changes.apply = "now" in the database module.',
        )
    return ok(f"{site.output(INSTANCE)} runs with all that it was told")
