import pytest

from tools import prune


def _publish(account, name, count):
    client = getattr(account, "lambda")
    made = account.function(name, Publish=True)
    for memory in range(129, 128 + count):
        client.update_function_configuration(FunctionName=name, MemorySize=memory)
        client.publish_version(FunctionName=name)
    return client, made["FunctionArn"].split(":function:")[0] + f":function:{name}"


def _versions(client, name):
    found = client.list_versions_by_function(FunctionName=name)["Versions"]
    return [version["Version"] for version in found if version["Version"] != "$LATEST"]


def test_the_newest_versions_stay_and_old_ones_go(account, capsys):
    client, arn = _publish(account, "many", 6)
    client.create_alias(FunctionName="many", Name="live", FunctionVersion="6")
    assert prune.main(f"{arn}:live") is None
    assert _versions(client, "many") == ["4", "5", "6"]
    assert capsys.readouterr().out == "Deleted many's old versions 1, 2, 3.\n"


def test_what_an_alias_leads_to_stays(account):
    client, arn = _publish(account, "rolled-back", 6)
    client.create_alias(FunctionName="rolled-back", Name="live", FunctionVersion="2")
    client.create_alias(FunctionName="rolled-back", Name="old", FunctionVersion="1")
    assert prune.main(f"{arn}:live") is None
    assert _versions(client, "rolled-back") == ["1", "2", "4", "5", "6"]


def test_few_versions_are_left_alone(account, capsys):
    client, arn = _publish(account, "few", 3)
    assert prune.main(f"{arn}:live") is None
    assert _versions(client, "few") == ["1", "2", "3"]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("account")
def test_a_function_that_is_gone_is_one_clear_line():
    said = prune.main("arn:aws:lambda:us-east-1:123456789012:function:gone:live")
    assert "were not deleted" in said
