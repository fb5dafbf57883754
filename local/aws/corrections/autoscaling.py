"""Application Auto Scaling: targets of clusters that exist, their policies and tags."""

from __future__ import annotations

import json
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError
from moto.rds.models import rds_backends

from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    targets_are_aurora_clusters(moto)
    policies_belong_to_a_target(moto)
    targets_have_tags(moto)


def targets_are_aurora_clusters(moto: Moto) -> None:
    """RegisterScalableTarget takes `cluster:NAME` of an Aurora cluster with an instance, and a sound range.

    Application Auto Scaling API reference, RegisterScalableTarget; Aurora user guide, aurora-integrating-autoscaling.
    The words are an assumption.
    """

    @moto.around(ApplicationAutoscalingBackend, "register_scalable_target")
    def register(original: Method, self: Any, namespace: str, r_id: str, dimension: str, **given: Any) -> Any:
        if namespace == "rds":
            cluster = rds_backends[self.account_id][self.region_name].clusters.get(r_id.removeprefix("cluster:"))
            if cluster is None or cluster.engine != "aurora-postgresql" or not cluster.members:
                raise AWSValidationException(f"RDS resource {r_id} is no available Aurora cluster")
        least, most = given.get("min_capacity"), given.get("max_capacity")
        if least is not None and most is not None and most < least:
            raise AWSValidationException("Maximum capacity cannot be less than minimum capacity")
        return original(self, namespace, r_id, dimension, **given)


def policies_belong_to_a_target(moto: Moto) -> None:
    """PutScalingPolicy needs a registered target, and DeregisterScalableTarget deletes the target's policies.

    Application Auto Scaling API reference, PutScalingPolicy (ObjectNotFoundException) and DeregisterScalableTarget.
    """

    @moto.around(ApplicationAutoscalingBackend, "put_scaling_policy")
    def put(original: Method, self: Any, **given: Any) -> Any:
        namespace, resource = given["service_namespace"], given["resource_id"]
        dimension = given["scalable_dimension"]
        if not self._scalable_target_exists(resource, dimension):
            message = (
                f"No scalable target registered for service namespace: {namespace}, resource ID: {resource}, "
                f"scalable dimension: {dimension}"
            )
            raise JsonRESTError("ObjectNotFoundException", message)
        return original(self, **given)

    @moto.around(ApplicationAutoscalingBackend, "deregister_scalable_target")
    def deregister(original: Method, self: Any, namespace: str, r_id: str, dimension: str) -> Any:
        original(self, namespace, r_id, dimension)
        for key, policy in list(self.policies.items()):
            if (policy.resource_id, policy.scalable_dimension) == (r_id, dimension):
                del self.policies[key]


def targets_have_tags(moto: Moto) -> None:
    """ListTagsForResource, TagResource and UntagResource of a scalable target, which moto lacks."""

    @moto.around(ApplicationAutoScalingResponse, "register_scalable_target")
    def register(original: Method, self: Any) -> Any:
        answer = original(self)
        if given := self._get_param("Tags"):
            _tags(self, json.loads(answer)["ScalableTargetARN"]).update(given)
        return answer

    @moto.add(ApplicationAutoScalingResponse)
    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": _tags(self, self._get_param("ResourceARN"))})

    @moto.add(ApplicationAutoScalingResponse)
    def tag_resource(self: Any) -> str:
        _tags(self, self._get_param("ResourceARN")).update(self._get_param("Tags"))
        return "{}"

    @moto.add(ApplicationAutoScalingResponse)
    def untag_resource(self: Any) -> str:
        tags = _tags(self, self._get_param("ResourceARN"))
        for name in self._get_param("TagKeys"):
            tags.pop(name, None)
        return "{}"


def _tags(response: Any, arn: str) -> dict[str, str]:
    """Return the tags of a target, to be read and changed."""
    for targets in response.applicationautoscaling_backend.targets.values():
        for target in targets.values():
            if target.arn == arn:
                tags: dict[str, str] = vars(target).setdefault("tags", {})
                return tags
    raise JsonRESTError("ResourceNotFoundException", f"The specified resource doesn't exist: {arn}")
