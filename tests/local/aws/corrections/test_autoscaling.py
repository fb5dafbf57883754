"""local/aws/corrections/autoscaling.py: as AWS documents it, where stock moto does not yet."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

READERS = {"ServiceNamespace": "rds", "ScalableDimension": "rds:cluster:ReadReplicaCount"}


@pytest.fixture
def growing(aws: Any) -> Any:
    """Application Auto Scaling of an account with a cluster that has an instance."""
    if not aws.rds.describe_db_clusters()["DBClusters"]:
        aws.cluster("growing", members=1)
    return getattr(aws, "application-autoscaling")


def register(client: Any, cluster: str = "growing", **given: Any) -> str:
    capacity = {"MinCapacity": 1, "MaxCapacity": 3} | given
    return str(
        client.register_scalable_target(ResourceId=f"cluster:{cluster}", **READERS, **capacity)["ScalableTargetARN"]
    )


def put_policy(client: Any, cluster: str = "growing") -> None:
    client.put_scaling_policy(
        PolicyName="readers",
        PolicyType="TargetTrackingScaling",
        ResourceId=f"cluster:{cluster}",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 60,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "RDSReaderAverageCPUUtilization"},
        },
        **READERS,
    )


def test_a_target_has_tags(growing):
    arn = register(growing, Tags={"Environment": "prod"})
    growing.tag_resource(ResourceARN=arn, Tags={"ManagedBy": "terraform"})
    growing.untag_resource(ResourceARN=arn, TagKeys=["Environment"])
    assert growing.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"ManagedBy": "terraform"}


def test_a_target_is_a_cluster_that_exists(growing):
    with pytest.raises(ClientError, match="ValidationException"):
        register(growing, "nowhere")


def test_the_largest_number_is_not_below_the_least(growing):
    with pytest.raises(ClientError, match="ValidationException"):
        register(growing, MinCapacity=3, MaxCapacity=2)


def test_a_policy_needs_a_target_and_goes_with_it(growing):
    with pytest.raises(ClientError, match="ObjectNotFoundException"):
        put_policy(growing, "unregistered")
    register(growing)
    put_policy(growing)
    growing.deregister_scalable_target(ResourceId="cluster:growing", **READERS)
    assert growing.describe_scaling_policies(ServiceNamespace="rds")["ScalingPolicies"] == []
