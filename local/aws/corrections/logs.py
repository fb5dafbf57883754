"""CloudWatch Logs: groups that a service makes by itself."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.logs.exceptions import ResourceNotFoundException
from moto.logs.models import logs_backends
from moto.logs.responses import LogsResponse
from moto.rds.models import RDSBackend

from local.aws.corrections.keys import is_enabled
from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    services_may_log_after_their_end(moto)
    groups_can_get_a_key_later(moto)


def services_may_log_after_their_end(moto: Moto) -> None:
    """RDS writes the last lines of a deleted instance or proxy late, and makes a log group that is gone by then again.

    hashicorp/terraform-provider-aws#42858, terraform-aws-modules/terraform-aws-rds#419. When that happens is unknown:
    here when `write_late_lines` is called. The group that RDS makes has no retention and no key. A function's lines are
    written with its role, so they make a group only where the role may logs:CreateLogGroup.
    """

    @moto.around(RDSBackend, "delete_db_instance")
    def delete_instance(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        deleted = original(self, *args, **kwargs)
        name = deleted.db_instance_identifier
        _late(self).update(f"/aws/rds/instance/{name}/{log}" for log in deleted.enabled_cloudwatch_logs_exports)
        return deleted

    @moto.around(RDSBackend, "delete_db_proxy")
    def delete_proxy(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        deleted = original(self, *args, **kwargs)
        _late(self).add(f"/aws/rds/proxy/{deleted.db_proxy_name}")
        return deleted


def groups_can_get_a_key_later(moto: Moto) -> None:
    """AssociateKmsKey gives a group that exists a key, which must be enabled; DisassociateKmsKey takes it away.

    CloudWatch Logs API reference, AssociateKmsKey: InvalidParameterException.
    """

    @moto.add(LogsResponse)
    def associate_kms_key(self: Any) -> str:
        key = self._get_param("kmsKeyId")
        if not is_enabled(self.logs_backend, key):
            raise JsonRESTError("InvalidParameterException", f"The KMS key {key} does not exist or is not enabled.")
        _group(self.logs_backend, self._get_param("logGroupName")).kms_key_id = key
        return ""

    @moto.add(LogsResponse)
    def disassociate_kms_key(self: Any) -> str:
        _group(self.logs_backend, self._get_param("logGroupName")).kms_key_id = None
        return ""


def _group(backend: Any, name: str) -> Any:
    if name not in backend.groups:
        raise ResourceNotFoundException()
    return backend.groups[name]


def write_late_lines(backend: Any) -> list[str]:
    """Let RDS write what deleted instances and proxies logged last; return the groups that it made for it."""
    names, logs = _late(backend), logs_backends[backend.account_id][backend.region_name]
    made = sorted(names - set(logs.groups))
    names.clear()
    for name in made:
        logs.ensure_log_group(name)
    return made


def _late(backend: Any) -> set[str]:
    found: set[str] = backend.__dict__.setdefault("late_log_groups", set())
    return found
