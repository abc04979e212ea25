"""The template: what it says, that it can be created, and that no right is too many."""

from __future__ import annotations

import fnmatch
import json
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import boto3
import psycopg
import pytest
import yaml
from support.cloudformation import (
    ACCOUNT,
    GIVEN,
    KEY,
    REGION,
    SECRET,
    STACK,
    TEMPLATE,
    Stack,
)
from support.s3_places import calls_of
from support.sites import NEW, OLD, BucketSite

from recon_engine.aws.database_login import IamToken
from recon_engine.config import OnBadRow, Options
from recon_engine.options import OPTIONS
from recon_engine.pipeline.doctor import CheckState, examine_setup
from recon_engine.status import RunStatus
from recon_engine.storage.s3 import client as s3_client
from recon_engine.storage.s3 import multipart, prefix
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterator


RELEASE = TEMPLATE.parents[1] / ".github" / "workflows" / "release.yml"
CLUSTER = f"{STACK}-Cluster"
EVERYTHING = GIVEN | {
    "BucketKmsKeyArn": KEY,
    "SecretsKmsKeyArn": KEY,
    "MaskKeySecretArn": SECRET.replace("app", "mask"),
    "RunOnArrival": "true",
    "AlarmTopicEmail": "data@example.com",
    "LogKmsKeyArn": KEY,
    "DatabaseHost": "db.example.us-east-1.rds.amazonaws.com",
    "ReleaseRepository": "example/recon-engine",
}
BY_TOKEN = GIVEN | {
    "DatabaseSignIn": "iam",
    "DatabaseSecretArn": "",
    "DatabaseHost": "db.example.us-east-1.rds.amazonaws.com",
    "DatabaseResourceId": "db-ABCDEFGHIJKL",
}


# --- what it says


def test_the_task_is_what_fargate_takes() -> None:
    task = Stack(GIVEN).properties("Task")
    assert task["RequiresCompatibilities"] == ["FARGATE"]
    assert task["NetworkMode"] == "awsvpc"
    assert (task["Cpu"], task["Memory"]) == ("4096", "16384")
    assert task["RuntimePlatform"] == {
        "OperatingSystemFamily": "LINUX",
        "CpuArchitecture": "ARM64",
    }
    storage = Stack(GIVEN).template["Parameters"]["EphemeralStorageGiB"]
    assert (storage["MinValue"], storage["MaxValue"]) == (21, 200)


def test_the_container_can_change_nothing_but_its_scratch_folder() -> None:
    [container] = Stack(GIVEN).properties("Task")["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert container["User"] == "10001:10001"
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert container["MountPoints"] == [
        {"SourceVolume": "scratch", "ContainerPath": "/scratch", "ReadOnly": False}
    ]
    assert container["StopTimeout"] == 120
    assert container["LogConfiguration"]["Options"]["mode"] == "non-blocking"


def test_the_options_of_the_task_are_options_of_the_command() -> None:
    [container] = Stack(EVERYTHING).properties("Task")["ContainerDefinitions"]
    assert container["Command"] == ["run", "--format", "markdown"]
    source = "".join(
        path.read_text()
        for folder in ("recon_engine", "cli/recon_cli")
        for path in (TEMPLATE.parents[1] / folder).rglob("*.py")
    )
    # What is read from the environment only is spelled where it is read.
    options = {option.env for option in OPTIONS.values()}
    for each in container["Environment"]:
        assert each["Name"] in options or f'"{each["Name"]}"' in source, each


def test_no_secret_is_in_the_environment() -> None:
    [container] = Stack(EVERYTHING).properties("Task")["ContainerDefinitions"]
    values = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert values["RECON_DATABASE_SECRET"] == SECRET
    assert "RECON_DATABASE_URL" not in values
    assert "PGPASSWORD" not in values
    assert container["Secrets"] == [
        {"Name": "RECON_MASK_KEY", "ValueFrom": SECRET.replace("app", "mask")}
    ]


def test_a_token_of_iam_takes_the_place_of_the_secret() -> None:
    stack = Stack(BY_TOKEN)
    [container] = stack.properties("Task")["ContainerDefinitions"]
    values = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert values["RECON_DATABASE_IAM"] == REGION
    assert (values["PGUSER"], values["PGDATABASE"]) == ("recon_app", "recon")
    with patch.dict("os.environ", {n: v for n, v in values.items() if n[:2] == "PG"}):
        assert BY_TOKEN["DatabaseHost"] in IamToken(REGION)()
    assert "secretsmanager" not in json.dumps(stack.properties("TaskRole"))
    [_, token] = stack.properties("TaskRole")["Policies"]
    assert token["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "rds-db:connect",
            "Resource": f"arn:aws:rds-db:{REGION}:{ACCOUNT}"
            ":dbuser:db-ABCDEFGHIJKL/recon_app",
        }
    ]


def test_images_cannot_be_replaced_and_are_scanned() -> None:
    repository = Stack(GIVEN).properties("Repository")
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("cron(30 6 * * ? *)", True),
        ("rate(1 day)", True),
        ("cron(30 6 * * ?)", False),
        ("cron(0 30 6 * * ? *)", False),
        ("30 6 * * ? *", False),
    ],
)
def test_a_schedule_of_six_fields_is_taken(expression: str, *, holds: bool) -> None:
    pattern = Stack(GIVEN).template["Parameters"]["ScheduleExpression"]
    assert bool(re.fullmatch(pattern["AllowedPattern"], expression)) is holds


def test_the_schedule_has_a_time_zone_and_tries_again() -> None:
    schedule = Stack(GIVEN).properties("Schedule")
    assert schedule["ScheduleExpressionTimezone"] == "America/New_York"
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 5
    assert schedule["Target"]["DeadLetterConfig"]["Arn"].startswith("arn:aws:sqs:")
    network = schedule["Target"]["EcsParameters"]["NetworkConfiguration"]
    assert network["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_whoever_starts_the_task_may_start_nothing_else() -> None:
    [policy] = Stack(GIVEN).properties("StartRole")["Policies"]
    run, passes, _ = policy["PolicyDocument"]["Statement"]
    assert run["Resource"] == f"{STACK}-Task"
    assert run["Condition"]["ArnEquals"]["ecs:cluster"].endswith(":cluster/" + CLUSTER)
    assert len(passes["Resource"]) == 2
    assert passes["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }


def test_a_failed_task_and_a_missing_success_are_reported() -> None:
    stack = Stack(GIVEN)
    pattern = stack.properties("FailedTasks")["EventPattern"]
    assert pattern["source"] == ["aws.ecs"]
    [failed, not_started] = pattern["detail"]["$or"]
    assert failed == {"containers": {"exitCode": [{"anything-but": [0]}]}}
    assert not_started == {"stopCode": ["TaskFailedToStart"]}
    alarm = stack.properties("NoDailySuccess")
    assert (alarm["Namespace"], alarm["MetricName"]) == ("ReconEngine", "RunSucceeded")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["Period"] == 24 * 3600
    [container] = stack.properties("Task")["ContainerDefinitions"]
    values = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert values["RECON_METRICS_NAMESPACE"] == alarm["Namespace"]


def test_the_only_accounts_are_those_of_whoever_deploys() -> None:
    assert re.findall(r"\b[0-9]{12}\b", TEMPLATE.read_text()) == []


# --- that it can be created


@pytest.mark.parametrize("given", [GIVEN, EVERYTHING, BY_TOKEN])
@pytest.mark.filterwarnings("ignore")
def test_the_stack_is_created(moto: str, given: dict[str, str]) -> None:
    name = f"stack-{uuid4().hex[:8]}"
    with closing(boto3.client("cloudformation", endpoint_url=moto)) as client:
        client.create_stack(
            StackName=name,
            TemplateBody=TEMPLATE.read_text(),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in {**given, "RepositoryName": name}.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        [stack] = client.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
    assert outputs["RepositoryUri"].startswith(f"{ACCOUNT}.dkr.ecr.{REGION}")
    assert outputs["TaskRoleArn"].startswith(f"arn:aws:iam::{ACCOUNT}:role/")
    with closing(boto3.client("ecs", endpoint_url=moto)) as ecs:
        task = ecs.describe_task_definition(taskDefinition=outputs["TaskDefinition"])
    [container] = task["taskDefinition"]["containerDefinitions"]
    assert container["image"].endswith(":0.1.0")


@pytest.mark.parametrize("given", [GIVEN, EVERYTHING, BY_TOKEN])
def test_ecs_takes_every_part_of_the_task_definition(
    moto: str, given: dict[str, str]
) -> None:
    """CloudFormation spells names with a capital, the API of ECS without."""
    wanted = api(Stack(given).properties("Task"))
    with closing(boto3.client("ecs", endpoint_url=moto)) as ecs:
        reply = ecs.register_task_definition(**wanted)["taskDefinition"]
    for name in ("cpu", "memory", "networkMode", "runtimePlatform", "ephemeralStorage"):
        assert reply[name] == wanted[name], name


def api(value: Any) -> Any:
    """Keys begin small, but for those that are data: the options of the log driver."""
    if isinstance(value, list):
        return [api(item) for item in value]
    if not isinstance(value, dict):
        return value
    small = {}
    for key, item in value.items():
        name = key[0].lower() + key[1:]
        if name == "sizeInGiB":
            item = int(item)  # noqa: PLW2901 - parameters of CloudFormation are text
        small[name] = item if name == "options" else api(item)
    return small


# --- what it allows


# What S3 asks for, by the operation; of a copy at its source as well.
ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "GetObjectTagging": "s3:GetObjectTagging",
    "PutObject": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "GetBucketVersioning": "s3:GetBucketVersioning",
}
OF_VERSIONS = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
}
Need = tuple[str, str, str]  # the action, the ARN, and what a condition looks at


def needs(operation: str, sent: dict[str, Any]) -> Iterator[Need]:
    """What a call needs to be allowed."""
    bucket = f"arn:aws:s3:::{sent['Bucket']}"
    if operation == "ListObjectsV2":
        yield ACTIONS[operation], bucket, sent["Prefix"]
        return
    action = ACTIONS[operation]
    if operation == "GetBucketVersioning":
        yield action, bucket, ""
        return
    if "VersionId" in sent:
        action = OF_VERSIONS[action]
    yield action, f"{bucket}/{sent['Key']}", sent.get("IfMatch", "")
    if operation == "CopyObject" or "Tagging" in sent:
        yield "s3:PutObjectTagging", f"{bucket}/{sent['Key']}", ""
    if "CopySource" in sent:
        source = sent["CopySource"]
        arn = f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"
        read = "s3:GetObject"
        yield OF_VERSIONS[read] if "VersionId" in source else read, arn, ""
        if operation == "CopyObject":
            tags = "s3:GetObjectTagging"
            yield OF_VERSIONS[tags] if "VersionId" in source else tags, arn, ""
    if operation == "DeleteObject":
        # A condition on an ETag is a read of it.
        yield "s3:GetObject", f"{bucket}/{sent['Key']}", ""


def grants(
    given: dict[str, str] = GIVEN,
) -> list[tuple[int, str, str, dict[str, Any]]]:
    """Each action of the task's policy on each resource, apart."""
    places = Stack(given).properties("TaskRole")["Policies"][0]
    return [
        (at, action, statement["Resource"], statement.get("Condition", {}))
        for at, statement in enumerate(places["PolicyDocument"]["Statement"])
        for action in (
            [statement["Action"]]
            if isinstance(statement["Action"], str)
            else statement["Action"]
        )
    ]


def allows(grant: tuple[int, str, str, dict[str, Any]], need: Need) -> bool:
    _, action, resource, condition = grant
    wanted, arn, fact = need
    if action != wanted or not fnmatch.fnmatchcase(arn, resource):
        return False
    match condition:
        case {} if not condition:
            return True
        case {"StringLike": {"s3:prefix": prefixes}}:
            return any(fnmatch.fnmatchcase(fact, prefix) for prefix in prefixes)
        case {"Null": {"s3:if-match": "false"}}:
            return bool(fact)
    raise AssertionError(condition)


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Need]]:
    """What the runs of the block need, from the calls that they really make."""
    found: list[Need] = []
    with closing(s3_client.create_s3_client()) as client:
        asked = calls_of(client)
        monkeypatch.setattr(prefix, "shared_s3_client", lambda: client)
        yield found
        for operation, sent in asked:
            found.extend(needs(operation, sent))


@pytest.fixture
def needed(seaweed: str, database: str, monkeypatch: pytest.MonkeyPatch) -> list[Need]:
    """Of runs: plain, tagged, of versions, in parts; and of a reply that was lost."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    monkeypatch.setenv(s3_client.OWNER_VARIABLE, ACCOUNT)
    bucket = GIVEN["Bucket"]
    site = BucketSite(bucket, seaweed, database, root="")
    site.inbound, site.processed, site.out = (
        f"s3://{bucket}/{Stack(GIVEN)._ref(name)}"
        for name in ("InboundPrefix", "ProcessedPrefix", "OutPrefix")
    )
    site.client.create_bucket(Bucket=bucket)

    def deliver(day: str, **headers: Any) -> None:
        for name, body in (
            (f"claims_{day}.csv", OLD),
            (f"claims_{day}_NEWSYSTEM.csv", NEW),
        ):
            site.client.put_object(
                Bucket=bucket, Key=f"inbound/{name}", Body=body + b"bad\n", **headers
            )

    def ran() -> None:
        options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
        ended = site.run(dataset="claims", options=options)
        assert ended.record.status is RunStatus.SUCCEEDED, ended.error

    with recorded(monkeypatch) as found:
        deliver("1")
        ran()
        deliver("2", Tagging="kind=claims")
        with monkeypatch.context() as small:
            small.setattr(multipart, "MAX_SINGLE_REQUEST", 1)
            ran()
        site.client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
        for day, at_once in (("3", 5 << 30), ("4", 1)):
            deliver(day, Tagging="kind=claims")
            with monkeypatch.context() as small:
                small.setattr(multipart, "MAX_SINGLE_REQUEST", at_once)
                ran()
        out = open_storage(site.out)
        assert [out.put_once(data, "manifest.json") for data in (b"1", b"1")] == [
            True,
            False,
        ]
    site.client.close()
    return found


def test_the_policy_allows_what_a_run_asks_of_s3_and_nothing_else(
    needed: list[Need], database: str
) -> None:
    assert wrote_every_artifact(needed, database)
    allowed = grants()
    refused = {need for need in needed if not any(allows(g, need) for g in allowed)}
    assert refused == set()
    idle = {
        (action, resource)
        for at, action, resource, condition in allowed
        if not any(allows((at, action, resource, condition), need) for need in needed)
    }
    # Only a failure asks for that: an upload of the archive or the results is given up.
    assert idle == {
        ("s3:AbortMultipartUpload", f"arn:aws:s3:::claims-bucket/{prefix}*")
        for prefix in ("processed/", "recon/")
    }


def wrote_every_artifact(needed: list[Need], database: str) -> bool:
    """Whether the calls are those of runs that leave nothing out."""
    put = {arn.rpartition("/")[2] for action, arn, _ in needed if "Put" in action}
    with psycopg.connect(database) as connection:
        uris = connection.execute("SELECT uri FROM metrics.artifact").fetchall()
    names = {uri.rpartition("/")[2] for (uri,) in uris}
    return len(names) == 13 and {"report.html", "rejects.csv"} < names <= put


def test_the_doctor_of_the_task_may_look_at_all_but_the_versions_of_the_bucket(
    seaweed: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed)
    bucket = f"doctor-{uuid4().hex[:8]}"
    with closing(boto3.client("s3", endpoint_url=seaweed)) as client:
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="inbound/a.csv", Body=OLD)
    places = {
        name.lower().removesuffix("prefix"): f"s3://{bucket}/{Stack(GIVEN)._ref(name)}"
        for name in ("InboundPrefix", "ProcessedPrefix", "OutPrefix")
    }
    with recorded(monkeypatch) as found:
        findings = list(examine_setup(places, database))
    assert {f.state for f in findings} == {CheckState.OK, CheckState.WARN}, findings
    allowed = grants({**GIVEN, "Bucket": bucket})
    refused = {need for need in found if not any(allows(g, need) for g in allowed)}
    assert {action for action, _, _ in refused} == {"s3:GetBucketVersioning"}


def test_nothing_may_be_deleted_without_its_etag() -> None:
    deletes = [grant for grant in grants() if grant[1].startswith("s3:Delete")]
    [delete] = deletes
    assert delete[2] == "arn:aws:s3:::claims-bucket/inbound/*"
    assert delete[3] == {"Null": {"s3:if-match": "false"}}


def test_no_statement_is_for_everything() -> None:
    for role in ("TaskRole", "ExecutionRole", "StartRole", "ReleaseRole"):
        for policy in Stack(EVERYTHING).properties(role)["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                assert "*" not in json.dumps(actions)
                if actions != "ecr:GetAuthorizationToken":
                    assert statement["Resource"] != "*"


def test_images_are_pushed_by_the_release_workflow_alone() -> None:
    role = Stack(EVERYTHING).properties("ReleaseRole")
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    [job] = yaml.safe_load(RELEASE.read_text())["jobs"].values()
    said = trust["Condition"]["StringEquals"]
    issuer = "token.actions.githubusercontent.com"
    assert said == {
        f"{issuer}:aud": "sts.amazonaws.com",
        f"{issuer}:sub": f"repo:example/recon-engine:environment:{job['environment']}",
    }
    [policy] = role["Policies"]
    _, push = policy["PolicyDocument"]["Statement"]
    assert push["Resource"].endswith(":repository/recon-claims-Repository")
    assert job["permissions"]["id-token"] == "write"


def test_the_release_is_pushed_to_where_the_stack_looks_for_it() -> None:
    text = RELEASE.read_text()
    name = Stack(GIVEN).template["Parameters"]["RepositoryName"]["Default"]
    assert f"/{name}\n" in text
    assert 'version="${GITHUB_REF_NAME#v}"' in text
    assert '--tag "$REPOSITORY:$version"' in text


def test_the_execution_role_sees_no_data() -> None:
    said = json.dumps(Stack(EVERYTHING).properties("ExecutionRole"))
    assert "s3:" not in said.replace("aws:s3", "")
    assert "rds" not in said


# --- what the documents say of it


def test_the_command_of_the_document_gives_every_parameter_that_is_needed() -> None:
    text = (TEMPLATE.parents[1] / "docs" / "deploy.md").read_text()
    command = text[text.index("aws cloudformation deploy") :].partition("```")[0]
    said = dict(re.findall(r"\b([A-Z][A-Za-z]+)=(\S+)", command))
    parameters = Stack({}).template["Parameters"]
    needed = {name for name, facts in parameters.items() if "Default" not in facts}
    assert needed <= said.keys() <= parameters.keys()
    for name, value in said.items():
        pattern = parameters[name].get("AllowedPattern", ".*")
        assert re.fullmatch(pattern, value), name


def test_the_container_that_the_document_overrides_is_the_one_of_the_task() -> None:
    text = (TEMPLATE.parents[1] / "docs" / "deploy.md").read_text()
    [overrides] = re.findall(r"--overrides '([^']+)'", text)
    [override] = json.loads(overrides)["containerOverrides"]
    [container] = Stack(GIVEN).properties("Task")["ContainerDefinitions"]
    assert override["name"] == container["Name"]
