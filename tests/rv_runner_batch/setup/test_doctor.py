"""`rv batch doctor`: nothing to say about the template's set-up, and one sentence about each thing that is wrong."""

from __future__ import annotations

import copy
import json
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from tests.rv_runner_batch.setup.cloudformation import REGION, Resolved, as_described, make_stack

from rv_core.__main__ import main
from rv_core.errors import Finding
from rv_runner_batch.placement import Shape
from rv_runner_batch.settings import BatchSettings, CommandSettings
from rv_runner_batch.setup.doctor import diagnosed
from rv_runner_batch.setup.facts import Bucket, Facts, Role
from rv_runner_batch.setup.role_policies import allows, trusts, written_buckets
from rv_runner_batch.setup.stack import settings_of

if TYPE_CHECKING:
    from tests.local_batch.server import LocalBatch

pytest.importorskip("yaml", reason="PyYAML is not installed")

ROLE = "arn:aws:iam::123456789012:role/JobRole"
SERVICE_ROLE = "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"


def facts() -> Facts:
    """What AWS would say of the template's set-up; a copy that a test may change."""
    return copy.deepcopy(described_set_up())


@cache
def described_set_up() -> Facts:
    made = Resolved()
    environments = {
        name: {
            **as_described(properties),
            "computeEnvironmentName": name,
            "computeEnvironmentArn": name,
            "status": "VALID",
            "serviceRole": SERVICE_ROLE,
        }
        for name, properties in made.of_type("Batch::ComputeEnvironment").items()
    }
    queues = {
        properties["JobQueueName"]: {**as_described(properties), "status": "VALID", "jobQueueArn": "arn"}
        for properties in made.of_type("Batch::JobQueue").values()
    }
    definitions = {
        properties["JobDefinitionName"]: {**as_described(properties), "status": "ACTIVE", "revision": 1}
        for properties in made.of_type("Batch::JobDefinition").values()
    }
    role = made.of_type("IAM::Role")["JobRole"]
    [template] = made.of_type("EC2::LaunchTemplate").values()
    return Facts(
        region=REGION,
        caller="arn:aws:iam::123456789012:user/me",
        settings=BatchSettings(**settings_of(made.stack())),
        core_version="1.2.3",
        queues=queues,
        environments=environments,
        shapes=[Shape("c6i.xlarge", 4, 8192, 0), Shape("g5.xlarge", 4, 16384, 1)],
        launch_templates=dict.fromkeys(environments, template["LaunchTemplateData"]),
        security_groups={"SecurityGroup": {"GroupId": "SecurityGroup", "IpPermissions": []}},
        definitions=definitions,
        images={each["containerProperties"]["image"]: True for each in definitions.values()},
        roles={ROLE: Role(role["AssumeRolePolicyDocument"], [each["PolicyDocument"] for each in role["Policies"]])},
        log_groups={"/rv/rv": {"logGroupName": "/rv/rv", "retentionInDays": 30}},
        bucket=Bucket("s3://rv-bucket", REGION),
    )


def found(given: Facts) -> list[Finding]:
    return [finding for check in diagnosed(given) for finding in check.findings]


def test_the_templates_own_set_up_is_well() -> None:
    assert found(facts()) == []
    assert {check.state for check in diagnosed(facts())} == {"ok"}


def test_what_was_looked_at_is_named() -> None:
    details = {check.title: check.detail for check in diagnosed(facts())}
    assert details["credentials"] == f"arn:aws:iam::123456789012:user/me, {REGION}"
    assert details["job definitions"] == "rv-cpu, rv-gpu"
    assert details["job roles"] == "JobRole"
    assert details["bucket"] == "s3://rv-bucket"


# Each case: what is done to the facts, and the finding (severity, place, part of what it says, part of the fix).

Change = Callable[[Facts], Facts]


def queue(**members: Any) -> Change:
    def change(given: Facts) -> Facts:
        given.queues["rv-cpu"].update(members)  # type: ignore[index, attr-defined]
        return given

    return change


def environment(name: str = "CpuSpotEnvironment", /, **members: Any) -> Change:
    def change(given: Facts) -> Facts:
        given.environments[name].update(members)  # type: ignore[index, attr-defined]
        return given

    return change


def resources(name: str = "CpuSpotEnvironment", /, **members: Any) -> Change:
    def change(given: Facts) -> Facts:
        given.environments[name]["computeResources"].update(members)  # type: ignore[index]
        return given

    return change


def definition(**members: Any) -> Change:
    def change(given: Facts) -> Facts:
        given.definitions["rv-cpu"].update(members)  # type: ignore[index, union-attr]
        return given

    return change


def container(**members: Any) -> Change:
    def change(given: Facts) -> Facts:
        given.definitions["rv-cpu"]["containerProperties"].update(members)  # type: ignore[index]
        return given

    return change


def settings(**members: Any) -> Change:
    return lambda given: replace(given, settings=replace(given.settings, **members))


def having(**members: Any) -> Change:
    return lambda given: replace(given, **members)


def role(**members: Any) -> Change:
    return lambda given: replace(given, roles={ROLE: replace(given.roles[ROLE], **members)})  # type: ignore[index]


def policy(action: Any, resource: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]}


_TEMPLATE_WITHOUT_CARE = {
    "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
    "MetadataOptions": {"HttpTokens": "optional"},
}
_OPEN = {"GroupId": "SecurityGroup", "IpPermissions": [{"FromPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}
_OPEN_V6 = {"GroupId": "SecurityGroup", "IpPermissions": [{"IpRanges": [], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]}
_OTHER_RULES = {"attempts": 3, "evaluateOnExit": [{"onReason": "*", "action": "RETRY"}]}

CASES: list[tuple[str, Change, str, str, str, str]] = [
    # settings
    ("no queue", settings(cpu_job_queue=""), "error", "batch.cpu_job_queue", "is not set", "rv batch setup"),
    ("no GPU queue", settings(gpu_job_queue=""), "warning", "batch.gpu_job_queue", "is not set", "RV_BATCH_GPU_JOB"),
    # queues
    ("queue missing", settings(cpu_job_queue="x"), "error", "batch.cpu_job_queue", "no job queue 'x' in", "region"),
    ("queue disabled", queue(state="DISABLED"), "error", "job queue rv-cpu", "is disabled", "enable it"),
    ("queue invalid", queue(status="INVALID", statusReason="gone"), "error", "job queue rv-cpu", "INVALID: gone", ""),
    ("queue empty", queue(computeEnvironmentOrder=[]), "error", "job queue rv-cpu", "no compute environment", "give"),
    ("hopeless jobs", queue(jobStateTimeLimitActions=[]), "warning", "job queue rv-cpu", "waits here for ever", "MIS"),
    (
        "on-demand only",
        settings(cpu_job_queue="rv-cpu-on-demand"),
        "warning",
        "job queue rv-cpu-on-demand",
        "no spot machines",
        "[batch.commands.NAME]",
    ),
    # compute environments
    ("disabled", environment(state="DISABLED"), "error", "compute environment CpuSpot", "is disabled", "enable"),
    ("invalid", environment(status="INVALID", statusReason="no subnet"), "error", "CpuSpot", "no subnet", "update"),
    ("no zero", resources(minvCpus=4), "error", "CpuSpotEnvironment", "keeps 4 vCPUs running", "MinvCpus) to 0"),
    ("best fit", resources(allocationStrategy="BEST_FIT"), "warning", "CpuSpot", "BEST_FIT", "CAPACITY_OPTIMIZED"),
    ("bid", resources(bidPercentage=60), "warning", "CpuSpotEnvironment", "below 60 %", "leave the bid"),
    ("one subnet", resources(subnets=["a"]), "warning", "CpuSpotEnvironment", "one subnet", "availability zone"),
    ("own role", environment(serviceRole="arn:aws:iam::1:role/own"), "warning", "CpuSpot", "updated in place", "leave"),
    (
        "old image",
        resources(ec2Configuration=[{"imageType": "ECS_AL2"}]),
        "warning",
        "CpuSpotEnvironment",
        "no security updates",
        "ECS_AL2023",
    ),
    (
        "no driver",
        resources("GpuSpotEnvironment", ec2Configuration=[{"imageType": "ECS_AL2023"}]),
        "error",
        "GpuSpotEnvironment",
        "no GPU driver",
        "ECS_AL2023_NVIDIA",
    ),
    # machines
    ("no template", having(launch_templates={"C": None}), "error", "launch template of C", "does not exist", "update"),
    (
        "disks",
        having(launch_templates={"C": {**_TEMPLATE_WITHOUT_CARE, "MetadataOptions": {}}}),
        "warning",
        "launch template of C",
        "not encrypted",
        "Encrypted",
    ),
    (
        "metadata",
        having(launch_templates={"C": {**_TEMPLATE_WITHOUT_CARE, "BlockDeviceMappings": []}}),
        "warning",
        "launch template of C",
        "IMDSv1",
        "HttpTokens",
    ),
    ("no group", having(security_groups={}), "error", "security group SecurityGroup", "does not exist", "update"),
    ("open", having(security_groups={"SecurityGroup": _OPEN}), "warning", "security group", "lets anybody", "remove"),
    ("open 6", having(security_groups={"SecurityGroup": _OPEN_V6}), "warning", "security group", "anybody", "remove"),
    # job definitions
    ("no definition", having(definitions={}), "error", "batch.cpu_job_definition", "no active job definition", "AWS"),
    ("other type", definition(type="multinode"), "error", "job definition rv-cpu", "type multinode", "another"),
    ("inactive", definition(status="INACTIVE"), "error", "job definition rv-cpu", "is INACTIVE", "active revision"),
    ("no retry", definition(retryStrategy={}), "warning", "job definition rv-cpu", "one attempt", "several attempts"),
    ("other rules", definition(retryStrategy=_OTHER_RULES), "warning", "rv-cpu", "other retry rules", "template"),
    ("no timeout", definition(timeout={}), "error", "job definition rv-cpu", "has no timeout", "batch.timeout_s"),
    ("version", having(core_version="9"), "error", "job definition rv-cpu", "holds rv-core 1.2.3, here is 9", "anew"),
    ("no init", container(linuxParameters={"sharedMemorySize": 512}), "warning", "rv-cpu", "no init process", "set"),
    ("shm", container(linuxParameters={"initProcessEnabled": True}), "warning", "rv-cpu", "64 MiB of shared", "raise"),
    ("privileged", container(privileged=True), "warning", "rv-cpu", "runs privileged", "no privileges"),
    ("no role", container(jobRoleArn=""), "error", "rv-cpu", "has no job role", "ecs-tasks.amazonaws.com"),
    ("other logs", container(logConfiguration={"logDriver": "splunk"}), "warning", "rv-cpu", "to splunk", "awslogs"),
    (
        "too large",
        container(resourceRequirements=[{"type": "MEMORY", "value": "99999"}]),
        "error",
        "job definition rv-cpu",
        "asks for 99999 MiB, which the job queue rv-cpu can never give",
        "ask for less",
    ),
    # images, logs
    ("no image", having(images={"r:cpu-7": False}), "error", "image r:cpu-7", "every job fails", "push it"),
    ("no group of logs", having(log_groups={"/rv": None}), "error", "log group /rv", "every job fails", "make it"),
    ("logs for ever", having(log_groups={"/rv": {}}), "warning", "log group /rv", "for ever", "retention"),
    # roles
    ("role missing", having(roles={ROLE: None}), "error", "job role JobRole", "does not exist", "update"),
    ("no trust", role(trust={}), "error", "job role JobRole", "does not trust ecs-tasks", "let ecs-tasks"),
    ("wide", role(documents=[policy("s3:*", "*")]), "warning", "JobRole", "every bucket of the account", "limit it"),
    (
        "wide by AWS",
        role(attached=["arn:aws:iam::aws:policy/AmazonS3FullAccess"]),
        "warning",
        "JobRole",
        "every bucket of the account (AmazonS3FullAccess)",
        "limit it",
    ),
    (
        "other bucket",
        having(bucket=Bucket("s3://other/x", REGION)),
        "error",
        "job role JobRole",
        "jobs may not use the bucket other: s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket is missing",
        "policy",
    ),
    (
        "only reads",
        role(documents=[policy(["s3:Get*", "s3:List*"], "*")]),
        "error",
        "job role JobRole",
        "rv-bucket: s3:PutObject, s3:DeleteObject is missing",
        "policy",
    ),
    (
        "managed policies",
        role(documents=[], attached=["arn:aws:iam::1:policy/ours"]),
        "skipped",
        "job role JobRole",
        "not read: ours",
        "",
    ),
    # bucket
    ("no bucket", having(bucket=Bucket("s3://b", None)), "error", "bucket b", "does not exist", "another root"),
    ("far", having(bucket=Bucket("s3://rv-bucket", "us-east-1")), "warning", "bucket rv-bucket", "us-east-1", "same"),
    (
        "no writing",
        having(bucket=Bucket("s3://rv-bucket", REGION, "denied")),
        "error",
        "bucket rv-bucket",
        "cannot be written to from here: denied",
        "SubmitterPolicy",
    ),
    ("no root", having(bucket=None), "skipped", "bucket", "no bucket is known", "--root s3://"),
]


@pytest.mark.parametrize(
    ("change", "severity", "where", "what", "fix"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_each_fault_is_said_with_its_place_and_its_remedy(
    change: Change, severity: str, where: str, what: str, fix: str
) -> None:
    matching = [
        finding
        for finding in found(change(facts()))
        if finding.severity == severity and where in finding.where and what in finding.what
    ]
    assert len(matching) == 1
    assert fix in matching[0].fix


@pytest.mark.parametrize(
    "change",
    [
        settings(timeout_s=3600, commands={}),
        environment(status="UPDATING"),
        having(queues=None, environments=None, definitions=None, images=None, roles=None, log_groups=None),
        having(launch_templates=None, security_groups=None, shapes=None),
        having(images={"somewhere/else:1": None}),
        settings(commands={"train": CommandSettings(job_queue="rv-gpu-on-demand", gpus=1)}),
        container(logConfiguration={}),
        having(bucket=Bucket("s3://rv-bucket/root", "")),
    ],
)
def test_what_is_well_or_may_not_be_asked_is_no_finding(change: Change) -> None:
    assert found(change(facts())) == []


def test_what_may_not_be_asked_is_never_said_to_be_well() -> None:
    given = replace(facts(), environments=None, shapes=None, launch_templates=None, security_groups=None)
    states = {check.title: check.state for check in diagnosed(given)}
    skipped = [title for title, state in states.items() if state == "skipped"]
    assert skipped == ["compute environments", "machines", "job definitions"]


def test_a_timeout_in_the_profile_is_enough() -> None:
    given = definition(timeout={})(facts())
    assert found(settings(timeout_s=3600)(given)) == []


def test_queues_and_definitions_of_single_commands_are_looked_at_too() -> None:
    own = CommandSettings(job_queue="x", job_definition="y")
    texts = [str(finding) for finding in found(settings(commands={"train": own})(facts()))]
    assert [text.partition(": ")[0] for text in texts] == [
        "batch.commands.train.job_queue",
        "batch.commands.train.job_definition",
    ]


def test_several_faults_come_together_and_each_once() -> None:
    given = facts()
    for change in (queue(state="DISABLED"), resources(minvCpus=2), container(privileged=True)):
        given = change(given)
    assert len(found(given)) == 3


# --- policies --------------------------------------------------------------------------------------------------------


def test_a_denial_counts_more_than_what_allows() -> None:
    documents = [policy("s3:*", "*"), policy(["s3:PutObject"], "arn:aws:s3:::b/*", "Deny")]
    assert allows(documents, "s3:GetObject", "arn:aws:s3:::b/x")
    assert not allows(documents, "s3:PutObject", "arn:aws:s3:::b/x")
    assert allows(documents, "s3:PutObject", "arn:aws:s3:::c/x")


def test_brackets_in_a_policy_are_no_pattern() -> None:
    assert not allows([policy("s3:GetObject", "arn:aws:s3:::b/[ab]")], "s3:GetObject", "arn:aws:s3:::b/a")
    assert allows([policy("S3:getobject", "arn:aws:s3:::b/?")], "s3:GetObject", "arn:aws:s3:::b/a")


def test_statements_that_say_what_they_do_not_mean_allow_nothing() -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "x"}
    assert not allows([{"Statement": [statement]}], "s3:GetObject", "arn:aws:s3:::b/a")
    assert written_buckets([{"Statement": statement}]) == []


def test_buckets_that_may_be_written() -> None:
    documents = [policy("s3:PutObject", "arn:aws-cn:s3:::b/runs/*"), policy("s3:GetObject", "arn:aws:s3:::c/*")]
    assert written_buckets(documents) == ["b"]
    assert written_buckets([policy("*", "arn:aws:s3:::*")]) == ["*"]


def test_whoever_is_trusted_may_be_one_or_many() -> None:
    one = {"Statement": {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}}
    many = {"Statement": [{"Effect": "Allow", "Principal": {"Service": ["a", "ecs-tasks.amazonaws.com"]}}]}
    anybody = {"Statement": [{"Effect": "Allow", "Principal": "*"}]}
    assert trusts(one, "ecs-tasks.amazonaws.com")
    assert trusts(many, "ecs-tasks.amazonaws.com")
    assert not trusts(anybody, "ecs-tasks.amazonaws.com")


# --- against AWS, as far as moto goes --------------------------------------------------------------------------------

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    """A local AWS that has the stack `rv`, with both images in its repository."""
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("aws"))
    try:
        make_stack(running.client)
        for number, tag in enumerate(("cpu-7", "gpu-7")):
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": f"sha256:{number}"}, "layers": []}
            running.client("ecr").put_image(repositoryName="rv", imageManifest=json.dumps(manifest), imageTag=tag)
        yield running
    finally:
        running.stop()


@pytest.fixture
def call(aws: LocalBatch, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """`rv batch …` with a profile from the stack."""
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)
    assert main(["batch", "setup", "--stack", "rv"]) == 0
    capfd.readouterr()

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["batch", "doctor", *words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


#: What moto forgets of the template, and the service role that it wants.
_FORGOTTEN = [
    ("job queue rv-cpu", "a job that no machine can ever hold waits here for ever"),
    ("job queue rv-gpu", "a job that no machine can ever hold waits here for ever"),
    ("compute environment CpuSpot", "has a service role of its own, so it cannot be updated in place"),
    ("compute environment GpuSpot", "has a service role of its own, so it cannot be updated in place"),
    ("job definition rv-cpu", "has no timeout: a job that hangs keeps its machine, and you pay for it, until"),
    ("job definition rv-gpu", "has no timeout: a job that hangs keeps its machine, and you pay for it, until"),
]


@pytest.mark.s3
def test_a_live_set_up_has_only_the_faults_that_it_has(call: Call, aws: LocalBatch) -> None:
    code, out, err = call("--json")
    answer = json.loads(out)
    findings = [finding for check in answer["checks"] for finding in check["findings"]]
    assert (code, err, answer["ok"]) == (2, "", False)
    assert len(findings) == len(_FORGOTTEN)
    for finding, (where, what) in zip(findings, _FORGOTTEN, strict=True):
        place = finding["where"].replace("rv-CpuSpotEnvironment", "CpuSpot").replace("rv-GpuSpotEnvironment", "GpuSpot")
        assert place.startswith(where)
        assert finding["what"].startswith(what)
    states = {check["check"]: check["state"] for check in answer["checks"]}
    well = ("credentials", "settings", "machines", "images", "job roles", "logs", "bucket", "permissions")
    assert [states[title] for title in well] == ["ok"] * len(well)
    bucket = next(check["detail"] for check in answer["checks"] if check["check"] == "bucket")
    name = bucket.removeprefix("s3://")
    assert name.startswith("rv-bucket-")
    assert "Contents" not in aws.client("s3").list_objects_v2(Bucket=name)  # the probe is gone


@pytest.mark.s3
def test_the_findings_are_printed_with_what_to_do(call: Call) -> None:
    code, out, _ = call()
    assert code == 2
    assert "ok       credentials" in out
    assert "error    job definitions" in out
    assert "  error: job definition rv-cpu: has no timeout" in out
    assert "    fix: set batch.timeout_s in the profile" in out
    assert out.endswith("2 to fix, 4 that could be better\n")


@pytest.mark.s3
def test_a_live_set_up_that_fell_apart_is_taken_to_pieces(call: Call, aws: LocalBatch) -> None:
    aws.client("s3").create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-2"}
    )
    aws.client("logs").delete_log_group(logGroupName="/rv/rv")
    aws.client("ecr").batch_delete_image(repositoryName="rv", imageIds=[{"imageTag": "cpu-7"}])
    batch = aws.client("batch")
    batch.update_job_queue(jobQueue="rv-gpu", state="DISABLED")
    [definition] = batch.describe_job_definitions(jobDefinitionName="rv-gpu")["jobDefinitions"]
    batch.deregister_job_definition(jobDefinition=definition["jobDefinitionArn"])
    try:
        code, out, _ = call("--root", "s3://far-away/root")
    finally:
        aws.client("logs").create_log_group(logGroupName="/rv/rv")
    assert code == 2
    for text in (
        "error: log group /rv/rv: does not exist",
        ":cpu-7: is not in its repository",
        "error: job queue rv-gpu: the job queue rv-gpu is disabled",
        "error: batch.gpu_job_definition: there is no active job definition 'rv-gpu'",
        "jobs may not use the bucket far-away: s3:GetObject",
        "warning: bucket far-away: is in ap-southeast-2",
    ):
        assert text in out
    code, out, _ = call("--root", "s3://no-such-bucket/root")
    assert "error: bucket no-such-bucket: does not exist" in out


@pytest.mark.s3
def test_without_credentials_it_is_the_environment_that_is_wrong(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, out, _ = call()
    assert code == 3
    assert "no AWS credentials found" in out
    assert "AWS_PROFILE" in out


def test_a_root_that_is_not_in_s3_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "doctor", "--root", "out"]) == 2
    assert "--root 'out' is not in S3" in capfd.readouterr().err


def test_without_settings_there_is_nothing_to_look_at() -> None:
    texts = [str(finding) for finding in found(replace(facts(), settings=BatchSettings()))]
    assert len(texts) == 4
    assert all("is not set" in text for text in texts)


@pytest.fixture
def stranger(aws: LocalBatch, monkeypatch: pytest.MonkeyPatch, call: Call) -> Iterator[None]:
    """Moto's IAM is on, and the credentials are those of a user who may use S3 and nothing else."""
    del call  # it has made the profile, with other credentials
    iam, name = aws.client("iam"), f"stranger-{uuid.uuid4().hex[:8]}"
    document = {"Version": "2012-10-17", **policy("s3:*", "*")}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    switch_iam(aws, "0")
    yield
    switch_iam(aws, "Infinity")


def switch_iam(aws: LocalBatch, num_unchecked_requests: str) -> None:
    headers, body = {"Content-Type": "text/plain"}, num_unchecked_requests.encode()
    urllib.request.urlopen(urllib.request.Request(f"{aws.url}/moto-api/reset-auth", body, headers)).close()


@pytest.mark.s3
def test_what_may_not_be_asked_is_skipped_and_said(call: Call, stranger: None) -> None:
    code, out, _ = call("--root", "s3://no-such-bucket/root")
    assert code == 2  # of the bucket, which may be asked
    assert "error: bucket no-such-bucket: does not exist" in out
    for title in ("job queues", "compute environments", "machines", "job definitions", "images", "logs", "permissions"):
        assert f"skipped  {title}" in out
    for action in ("batch:DescribeJobQueues", "batch:DescribeJobDefinitions"):
        assert f"skipped: AWS: {action} is not allowed, so what it tells was not checked" in out
    assert "attach the stack's SubmitterPolicy" in out


@pytest.mark.s3
def test_setup_says_which_right_is_missing(stranger: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "setup", "--stack", "rv"]) == 3
    assert "cloudformation:DescribeStacks is not allowed" in capfd.readouterr().err
