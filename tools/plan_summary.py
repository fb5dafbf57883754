"""Say what a saved plan comes to: terraform show -json PLAN | python -m tools.plan_summary ENV.

Terraform counts and lists. Which of it loses data, restarts the database or cuts connections a reader must know by
heart; here each is said with its address. When RDS does what: RDS User Guide, user-modifyinstance-settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Change = dict[str, Any]

_VERBS = {
    ("create",): "add",
    ("update",): "change",
    ("delete",): "destroy",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}
_SHOWN = 10  # of what is added, on a terminal


@dataclass(frozen=True)
class Consequence:
    """What follows from one change, besides the change."""

    address: str
    what: str


@dataclass(frozen=True)
class Summary:
    """The addresses by what is done with them, and what follows."""

    add: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    destroy: tuple[str, ...] = ()
    loses_data: tuple[Consequence, ...] = ()
    restarts: tuple[Consequence, ...] = ()
    cuts: tuple[Consequence, ...] = ()
    swaps: tuple[Consequence, ...] = ()

    @property
    def counts(self) -> str:
        return (
            f"{len(self.add)} to add, {len(self.change)} to change, {len(self.replace)} to replace, "
            f"{len(self.destroy)} to destroy"
        )

    @property
    def consequences(self) -> dict[str, tuple[Consequence, ...]]:
        """By heading; an empty one is left out."""
        found = {
            "Loses data": self.loses_data,
            "Restarts the database": self.restarts,
            "Cuts connections": self.cuts,
            "Puts another function in the place of the one that runs": self.swaps,
        }
        return {heading: listed for heading, listed in found.items() if listed}


def summarise(plan: dict[str, Any]) -> Summary:
    """Read the document that terraform show -json gives of a saved plan."""
    changes = [(resource, verb) for resource in plan.get("resource_changes", []) if (verb := _verb(resource))]

    def addresses(wanted: str) -> tuple[str, ...]:
        return tuple(_address(resource) for resource, verb in changes if verb == wanted)

    def consequences(judge: Callable[[Change, str], Iterator[str]]) -> tuple[Consequence, ...]:
        return tuple(
            Consequence(_address(resource), what) for resource, verb in changes for what in judge(resource, verb)
        )

    return Summary(
        addresses("add"),
        addresses("change"),
        addresses("replace"),
        addresses("destroy"),
        consequences(_lost),
        consequences(_restarted),
        consequences(_cut),
        consequences(_swapped),
    )


def is_changed(plan: dict[str, Any]) -> bool:
    """Tell whether there is anything to apply, an output among it; where Terraform does not say, there may be."""
    return bool(plan.get("applyable", True))


def as_text(summary: Summary, environment: str, *, changed: bool = True) -> str:
    """Return the lines for a terminal."""
    if not changed:
        return f"Nothing to change in {environment}."
    lines = [f"Summary for {environment}: {summary.counts}."]
    for verb in ("add", "change", "replace", "destroy"):
        listed: tuple[str, ...] = getattr(summary, verb)
        shown = listed[:_SHOWN] if verb == "add" else listed
        lines += [f"  {verb:<8} {address}" for address in shown]
        if len(shown) < len(listed):
            lines.append(f"  {verb:<8} and {len(listed) - len(shown)} more")
    for heading, consequences in summary.consequences.items():
        lines.append(f"{heading}:")
        lines += [f"  {found.address}: {found.what}" for found in consequences]
    if not (summary.loses_data or summary.restarts or summary.cuts):
        lines.append("Loses no data, restarts no database, cuts no connection.")
    return "\n".join(lines)


def as_markdown(summary: Summary, environment: str, *, changed: bool = True) -> str:
    """Return the same for a comment on a pull request."""
    if not changed:
        return f"### Plan of {environment}: no changes\n"
    lines = [f"### Plan of {environment}: {summary.counts}", ""]
    for heading, consequences in summary.consequences.items():
        lines += [f"**{heading}**", ""]
        lines += [f"- `{found.address}`: {found.what}" for found in consequences]
        lines.append("")
    if not (summary.loses_data or summary.restarts or summary.cuts):
        lines += ["Loses no data, restarts no database, cuts no connection.", ""]
    for verb in ("destroy", "replace", "change", "add"):
        listed: tuple[str, ...] = getattr(summary, verb)
        if listed:
            lines += [f"<details><summary>{len(listed)} to {verb}</summary>", ""]
            lines += [f"- `{address}`" for address in listed]
            lines += ["", "</details>", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> str | None:
    """Print the summary of the plan on standard input; return what went wrong, if anything."""
    parser = argparse.ArgumentParser(prog="python -m tools.plan_summary", description=__doc__)
    parser.add_argument("environment")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it there as well")
    parser.add_argument("--changed", action="store_true", help="only print yes or no")
    given = parser.parse_args(arguments)
    try:
        plan = json.load(sys.stdin)
    except ValueError:
        return "The plan could not be read."
    changed = is_changed(plan)
    if given.changed:
        print("yes" if changed else "no")
        return None
    summary = summarise(plan)
    print(as_text(summary, given.environment, changed=changed))
    if given.markdown:
        given.markdown.write_text(as_markdown(summary, given.environment, changed=changed))
        print(f"The summary for a pull request is in {given.markdown}.")
    return None


# --- what follows from a change ---

# What goes with a resource that is deleted, for good.
_HELD = {
    "aws_cloudwatch_log_group": "its log lines",
    "aws_db_cluster_snapshot": "the snapshot",
    "aws_db_instance": "the database",
    "aws_db_snapshot": "the snapshot",
    "aws_kms_key": "all that is encrypted with it, once its waiting time is over",
    "aws_rds_cluster": "the databases of the cluster",
    "aws_secretsmanager_secret": "its values",
    "aws_sqs_queue": "the messages that it holds",
}

# By type, what restarts a server that changes in place.
_RESTARTING = {
    "aws_db_instance": ("instance_class", "engine_version", "db_subnet_group_name", "port", "identifier"),
    "aws_rds_cluster": ("engine_version", "db_cluster_instance_class", "port"),
    "aws_rds_cluster_instance": ("instance_class",),
}
_PARAMETERS = ("aws_db_parameter_group", "aws_rds_cluster_parameter_group")
_ALWAYS_AT_ONCE = ("port",)  # whatever apply_immediately says

# Connections of these end, or cannot be made, while one is away.
_IN_USE = {
    "aws_db_instance": "every connection to it",
    "aws_db_proxy": "every connection through it",
    "aws_db_proxy_endpoint": "every connection through this endpoint",
    "aws_db_proxy_target": "every connection through the proxy, until the new target is AVAILABLE",
    "aws_lambda_function": "every invocation",
    "aws_lambda_alias": "every invocation by this alias",
    "aws_nat_gateway": "calls that leave the VPC by it",
    "aws_rds_cluster": "every connection to it",
    "aws_rds_cluster_instance": "every connection to this instance",
    "aws_route": "what takes this route",
    "aws_security_group": "what it lets through",
    "aws_security_group_rule": "what it lets through",
    "aws_subnet": "what stands in it",
    "aws_vpc_endpoint": "calls of AWS by it",
    "aws_vpc_security_group_egress_rule": "what it lets through",
    "aws_vpc_security_group_ingress_rule": "what it lets through",
}
# With a successor made before they go, nothing is cut.
_SEAMLESS = {
    "aws_route",
    "aws_security_group",
    "aws_security_group_rule",
    "aws_vpc_security_group_egress_rule",
    "aws_vpc_security_group_ingress_rule",
}


def _lost(resource: Change, verb: str) -> Iterator[str]:
    before, after = _sides(resource)
    kind = resource["type"]
    if verb in ("destroy", "replace") and kind in _HELD:
        copy = _copy(before) if kind in ("aws_db_instance", "aws_rds_cluster") else ""
        yield f"{_done(verb)}, and with it {_HELD[kind]}{copy}"
    if verb != "change":
        return
    for name, what in (("backup_retention_period", "backups"), ("retention_in_days", "log lines")):
        old, new = before.get(name), after.get(name)
        if isinstance(old, int) and isinstance(new, int) and _kept(name, new) < _kept(name, old):
            yield f"{name} {old} → {new}: {what} older than {new} days are deleted"


def _restarted(resource: Change, verb: str) -> Iterator[str]:
    before, after = _sides(resource)
    if verb == "change":
        for name in _RESTARTING.get(resource["type"], ()):
            if _differs(resource, name):
                yield f"{name} {before.get(name)} → {_shown(after.get(name))}, {_when(before, after, name)}"
        old, new = before.get("backup_retention_period"), after.get("backup_retention_period")
        if resource["type"] == "aws_db_instance" and old != new and 0 in (old, new):
            yield f"backup_retention_period {old} → {new}, {_when(before, after, 'backup_retention_period')}"
        waiting = sorted(_waiting(before, after)) if resource["type"] in _PARAMETERS else []
        if waiting:
            yield f"{', '.join(waiting)}: in force only after make reboot"


def _cut(resource: Change, verb: str) -> Iterator[str]:
    kind, (before, after) = resource["type"], _sides(resource)
    seamless = kind in _SEAMLESS and resource["change"]["actions"] == ["create", "delete"]
    if verb in ("destroy", "replace") and kind in _IN_USE and not seamless:
        yield f"{_done(verb)}: {_IN_USE[kind]}"
    if verb != "change":
        return
    for name in ("vpc_security_group_ids", "security_group_ids"):
        gone = set(before.get(name) or []) - set(after.get(name) or [])
        if gone and kind in _IN_USE and name in after:
            yield f"loses {', '.join(sorted(gone))}: what these groups let through"
    if kind == "aws_security_group":
        for way in ("ingress", "egress"):
            left = [rule for rule in before.get(way) or [] if rule not in (after.get(way) or [])]
            if left and way in after:
                yield f"loses {len(left)} {way} rules: what they let through"


def _swapped(resource: Change, verb: str) -> Iterator[str]:
    """Tell of another zip or handler: that of a colleague's own function, or the sample in its place."""
    if verb != "change" or resource["type"] != "aws_lambda_function":
        return
    ran, runs = (f"{side.get('handler')} of {Path(side.get('filename') or '').name}" for side in _sides(resource))
    if ran != runs:
        yield f"{ran} → {runs}"


def _verb(resource: Change) -> str | None:
    if resource.get("mode", "managed") != "managed":
        return None
    return _VERBS.get(tuple(resource["change"]["actions"]))


def _address(resource: Change) -> str:
    return str(resource["address"]) + (f" (deposed {resource['deposed']})" if "deposed" in resource else "")


def _sides(resource: Change) -> tuple[Change, Change]:
    return resource["change"].get("before") or {}, resource["change"].get("after") or {}


def _differs(resource: Change, name: str) -> bool:
    before, after = _sides(resource)
    unknown = (resource["change"].get("after_unknown") or {}).get(name)
    return bool(unknown) or (name in after and before.get(name) != after[name])


def _done(verb: str) -> str:
    return "replaced" if verb == "replace" else "deleted"


def _copy(before: Change) -> str:
    name = before.get("final_snapshot_identifier")
    return "; no final snapshot is taken" if before.get("skip_final_snapshot") or not name else f"; {name} keeps a copy"


def _kept(name: str, days: int) -> float:
    """For a log group 0 days are for ever, for an instance they are no backups."""
    return float("inf") if name == "retention_in_days" and days == 0 else days


def _shown(value: Any) -> Any:
    return "what only the apply will tell" if value is None else value


def _when(before: Change, after: Change, name: str) -> str:
    if name in _ALWAYS_AT_ONCE or after.get("apply_immediately", before.get("apply_immediately")):
        return "at once"
    window = after.get("maintenance_window") or after.get("preferred_maintenance_window")
    return f"in the window {window} (UTC)" if window else "in the maintenance window"


def _waiting(before: Change, after: Change) -> Iterator[str]:
    """Name the parameters that a group gets or loses and that only a restart puts in force."""

    def static(side: Change) -> dict[str, str]:
        parameters = side.get("parameter") or []
        return {one["name"]: one["value"] for one in parameters if one.get("apply_method") == "pending-reboot"}

    old, new = static(before), static(after)
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'its default')} → {new.get(name, 'its default')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
