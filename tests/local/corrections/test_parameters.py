"""local/corrections/parameters.py: as AWS documents it, where stock moto does not yet."""

from tests.local.account import parameter_group


def test_given_parameters_are_the_user_s(aws):
    parameter_group(aws, "given")
    [parameter] = aws.rds.describe_db_parameters(DBParameterGroupName="given")["Parameters"]
    assert parameter["Source"] == "user"


def test_parameters_can_be_reset(aws):
    parameter_group(aws, "reset")
    aws.rds.reset_db_parameter_group(
        DBParameterGroupName="reset",
        Parameters=[{"ParameterName": "max_connections", "ApplyMethod": "pending-reboot"}],
    )
    assert aws.rds.describe_db_parameters(DBParameterGroupName="reset")["Parameters"] == []
