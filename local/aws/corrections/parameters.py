"""Parameter groups of RDS, and what of them a server has in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.exceptions import DBParameterGroupNotFoundError, InvalidParameterCombination, RDSClientError
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend
from moto.rds.responses import RDSResponse

from local.aws.moto import Method, Moto

# What RDS itself gives, as DescribeDBParameters lists it with the source `system`: max_connections (RDS user guide,
# PostgreSQL quotas), rds.force_ssl (1 since 15: RDS user guide, PostgreSQL.Concepts.General.SSL), the two of passwords
# (the default group has them: user guides, PostgreSQL_Password_Encryption_configuration).
_GIVEN_BY_RDS = {
    "max_connections": "LEAST({DBInstanceClassMemory/9531392},5000)",
    "password_encryption": "scram-sha-256",
    "rds.accepted_password_auth_method": "md5+scram",
    "rds.force_ssl": "1",
}

# PostgreSQL's own defaults: no value is listed, and the source is `engine-default`. RDS sets none of these (user guide,
# USER_LogAccess.Concepts.PostgreSQL.Query_Logging).
_OWN_DEFAULTS = {
    "log_connections": "0",
    "log_disconnections": "0",
    "log_lock_waits": "0",
    "log_min_duration_statement": "-1",
    "log_statement": "none",
}

# Those that a group of RDS can change, of PostgreSQL's context postmaster (pg_settings), and RDS's own.
STATIC = {
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "autovacuum_multixact_freeze_max_age",
    "huge_pages",
    "io_max_concurrency",
    "max_connections",
    "max_files_per_process",
    "max_locks_per_transaction",
    "max_logical_replication_workers",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "rds.logical_replication",
    "shared_buffers",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "track_activity_query_size",
    "track_commit_timestamp",
    "wal_buffers",
}


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    groups_list_what_was_not_given(moto)
    parameters_are_kept_as_rds_keeps_them(moto)
    servers_learn_of_parameters_as_rds_says(moto)
    groups_in_use_are_not_deleted(moto)


def family(engine_version: str, engine: str = "postgres") -> str:
    """Return the family of groups that a version takes."""
    return f"{engine}{major(engine_version)}"


def major(engine_version: str) -> int:
    """Return the number before the first dot."""
    return int(engine_version.split(".", maxsplit=1)[0])


def check_family(group_name: str, found: str, wanted: str) -> None:
    """Refuse a group of another family, as ModifyDBInstance does: the words are those of hashicorp/terraform#8471."""
    if found != wanted:
        raise InvalidParameterCombination(
            f"The parameter group {group_name} with DBParameterGroupFamily {found} can't be used for this "
            f"instance. Use a parameter group with DBParameterGroupFamily {wanted}."
        )


def check_upgrade(engine: str, old: str, new: str, *, allowed: Any) -> bool:
    """Tell whether a change of the version is a major upgrade, which must be allowed; refuse a downgrade."""
    if major(new) < major(old):
        raise InvalidParameterCombination(f"Cannot upgrade {engine} from {old} to {new}")
    upgraded = major(new) > major(old)
    if upgraded and not allowed:
        message = "The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version."
        raise InvalidParameterCombination(message)
    return upgraded


def in_force(database: Any) -> dict[str, str]:
    """Return the user's parameters that a server runs with."""
    parameters: dict[str, str] = database.__dict__.setdefault("parameters_in_force", {})
    return parameters


def restart(database: Any) -> None:
    """Let a server take every parameter of its group, as each start does."""
    database.parameters_in_force = _given(database.db_parameter_groups()[0])
    database.starts = getattr(database, "starts", 0) + 1


def groups_list_what_was_not_given(moto: Moto) -> None:
    """DescribeDBParameters lists defaults too; each has the apply method pending-reboot, even a dynamic one.

    Seen in hashicorp/terraform-provider-aws#39252, and in published output of the call (Source, ApplyType and
    ApplyMethod of every parameter of a default group). Only the parameters above are listed here, of several hundred.
    """

    def described(name: str, source: str, value: str | None) -> dict[str, Any]:
        default = {
            "ParameterName": name,
            "Source": source,
            "ApplyType": "static" if name in STATIC else "dynamic",
            "ApplyMethod": "pending-reboot",
            "IsModifiable": True,
        }
        return default if value is None else default | {"ParameterValue": value}

    @moto.add(RDSResponse)
    def describe_db_parameters(self: Any) -> ActionResult:
        name, wanted = self.params["DBParameterGroupName"], self.params.get("Source")
        groups = self.backend.describe_db_parameter_groups({"db_parameter_group_name": name})
        if not groups:
            raise DBParameterGroupNotFoundError(name)
        parameters = {name: described(name, "system", value) for name, value in _GIVEN_BY_RDS.items()}
        parameters |= {name: described(name, "engine-default", None) for name in _OWN_DEFAULTS}
        for name, given in groups[0].parameters.items():
            parameters[name] = described(name, "user", None) | given
        found = [parameter for parameter in parameters.values() if wanted in (None, parameter["Source"])]
        return ActionResult({"Parameters": found})


def parameters_are_kept_as_rds_keeps_them(moto: Moto) -> None:
    """A parameter set to what it already is keeps its source and its apply method; ResetDBParameterGroup works.

    The provider's documents say so of the apply method ("value remains the same", aws_db_parameter_group), and
    hashicorp/terraform-provider-aws#39252 and #23335 of the source. Whether RDS compares PostgreSQL's own defaults too
    is unknown; here it does, which is the stricter reading. A static parameter is refused with the method immediate
    (the message: ministryofjustice/cloud-platform#1197).
    """

    @moto.around(DBParameterGroup, "update_parameters")
    def update(original: Method, self: Any, new_parameters: Any) -> None:
        changed = []
        for parameter in new_parameters:
            name, value = parameter["ParameterName"], str(parameter.get("ParameterValue", ""))
            if name in STATIC and parameter.get("ApplyMethod") == "immediate":
                raise InvalidParameterCombination("cannot use immediate apply method for static parameter")
            default = _GIVEN_BY_RDS.get(name, _OWN_DEFAULTS.get(name))
            if value != (self.parameters[name]["ParameterValue"] if name in self.parameters else default):
                changed.append({**parameter, "ParameterValue": value, "Source": "user"})
        original(self, changed)
        _announce(self, changed)

    @moto.add(RDSResponse)
    def reset_db_parameter_group(self: Any) -> ActionResult:
        name = self.params["DBParameterGroupName"]
        group = self.backend.describe_db_parameter_groups({"db_parameter_group_name": name})[0]
        every = [{"ParameterName": name, "ApplyMethod": "pending-reboot"} for name in group.parameters]
        reset = every if self.params.get("ResetAllParameters") else self.params.get("Parameters", [])
        for parameter in reset:
            if parameter["ParameterName"] in STATIC and parameter.get("ApplyMethod") == "immediate":
                raise InvalidParameterCombination("cannot use immediate apply method for static parameter")
            group.parameters.pop(parameter["ParameterName"], None)
        _announce(group, reset)
        return ActionResult({"DBParameterGroupName": group.name})


def servers_learn_of_parameters_as_rds_says(moto: Moto) -> None:
    """A server takes dynamic parameters when they change, all others at its next start; ParameterApplyStatus says so.

    A group that is new to an instance counts from the next start, too (RDS user guide, USER_WorkingWithParamGroups;
    ModifyDBInstance, DBParameterGroupName), and one for a version that waits from the upgrade on (API:
    DBParameterGroupStatus, pending-database-upgrade). That every restart takes the parameters, not a reboot alone, is
    an assumption, and so is that both groups are listed while an upgrade waits.
    """

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        restart(self)

    def status(database: Any) -> list[dict[str, str]]:
        group = database.db_parameter_groups()[0]
        applied = "in-sync" if _given(group) == in_force(database) else "pending-reboot"
        groups = [{"DBParameterGroupName": group.name, "ParameterApplyStatus": applied}]
        if waiting := database.__dict__.get("waiting", {}).get("db_parameter_group_name"):
            groups.append({"DBParameterGroupName": waiting, "ParameterApplyStatus": "pending-database-upgrade"})
        return groups

    moto.set(DBInstance, "db_parameter_group_status_list", property(status))


def groups_in_use_are_not_deleted(moto: Moto) -> None:
    """DeleteDBParameterGroup refuses a group that an instance has, or is to have with an upgrade that waits.

    The message: hashicorp/terraform-provider-aws#6448.
    """

    @moto.around(RDSBackend, "delete_db_parameter_group")
    def delete(original: Method, self: Any, db_parameter_group_name: str) -> Any:
        for database in list(self.databases.values()):
            waiting = database.__dict__.get("waiting", {}).get("db_parameter_group_name")
            if db_parameter_group_name in (database.db_parameter_groups()[0].name, waiting):
                message = (
                    "One or more database instances are still members of this parameter group "
                    f"{db_parameter_group_name}, so the group cannot be deleted"
                )
                raise RDSClientError("InvalidDBParameterGroupState", message)
        return original(self, db_parameter_group_name)


def _given(group: Any) -> dict[str, str]:
    return {name: str(given["ParameterValue"]) for name, given in group.parameters.items()}


def _announce(group: Any, changed: Iterable[Any]) -> None:
    """Let the servers of a group take the dynamic parameters among those that changed."""
    names = {parameter["ParameterName"] for parameter in changed if parameter.get("ApplyMethod") == "immediate"}
    given = _given(group)
    for database in list(group.backend.databases.values()):
        if database.db_parameter_groups()[0] is group:
            for name in names:
                in_force(database).pop(name, None)
                if name in given:
                    in_force(database)[name] = given[name]
