"""`rv batch template`: what lint sees and what it cannot see, and that the template can be created."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.rv_runner_batch.setup.cloudformation import REGION, Resolved, make_stack, parsed

from rv_core.__main__ import main
from rv_runner_batch.setup.role_policies import allows, trusts, written_buckets
from rv_runner_batch.setup.stack import OUTPUT_OF_SETTING, SHOWN_OUTPUTS, settings_of
from rv_runner_batch.setup.template import MAX_TEMPLATE_BYTES, template_text
from rv_runner_batch.submission import RETRY_RULES

if TYPE_CHECKING:
    from tests.local_batch.server import LocalBatch

pytest_plugins = ("tests.local_batch.fixtures",)
pytest.importorskip("yaml", reason="PyYAML is not installed")

_SOURCES = Path(__file__).parents[3] / "rv_runner_batch" / "src" / "rv_runner_batch"
_PAGE = Path(__file__).parents[3] / "docs" / "aws-batch.md"
#: What stands in the page for the values of this stack.
_PLACEHOLDERS = {
    "123456789012": "ACCOUNT",
    REGION: "REGION",
    "rv-bucket": "BUCKET",
    "role/JobRole": "role/JOB-ROLE",
    "repository/rv": "repository/REPOSITORY",
}
_ENVIRONMENTS = ("CpuSpotEnvironment", "GpuSpotEnvironment", "CpuOnDemandEnvironment", "GpuOnDemandEnvironment")
_DEFINITIONS = ("CpuDefinition", "GpuDefinition")


@cache
def resolved() -> Resolved:
    return Resolved()


def environment(name: str) -> dict[str, Any]:
    return resolved().of_type("Batch::ComputeEnvironment")[name]


def definition(name: str) -> dict[str, Any]:
    return resolved().of_type("Batch::JobDefinition")[name]


# --- what it is ------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_template_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "template"]) == 0
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == (template_text(), "")


def test_it_is_small_enough_to_be_deployed_from_a_file() -> None:
    assert len(template_text().encode()) <= MAX_TEMPLATE_BYTES
    assert template_text().isascii()  # the console of CloudFormation shows other characters as question marks


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    lint = shutil.which("cfn-lint", path=str(Path(sys.executable).parent))
    if lint is None:
        pytest.skip("cfn-lint is not installed")
    path = tmp_path / "template.yaml"
    path.write_text(template_text())
    regions = ["us-east-1", "eu-central-1"]
    found = subprocess.run([lint, "--regions", *regions, "--", path], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_cfn_lint_would_find_a_mistake(tmp_path: Path) -> None:
    lint = shutil.which("cfn-lint", path=str(Path(sys.executable).parent))
    if lint is None:
        pytest.skip("cfn-lint is not installed")
    path = tmp_path / "template.yaml"
    path.write_text(template_text().replace("MinvCpus", "MinVcpus"))
    found = subprocess.run([lint, path], capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "MinVcpus" in found.stdout


def test_every_parameter_and_condition_is_used_and_explained() -> None:
    template, text = parsed(), template_text()
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert re.search(rf"!Ref {name}\b|\$\{{{name}\}}", text), name
    for name in template["Conditions"]:
        assert re.search(rf"(Condition: |!If \[){name}\b", text), name
    without_default = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    assert without_default == {"VpcId", "SubnetIds", "ImageTag"}


# --- machines --------------------------------------------------------------------------------------------------------


def test_there_are_spot_and_on_demand_environments_for_both_kinds_of_jobs() -> None:
    assert set(resolved().of_type("Batch::ComputeEnvironment")) == set(_ENVIRONMENTS)


@pytest.mark.parametrize("name", _ENVIRONMENTS)
def test_an_environment_scales_to_zero(name: str) -> None:
    resources = environment(name)["ComputeResources"]
    assert resources["MinvCpus"] == 0
    assert "DesiredvCpus" not in resources
    assert resources["MaxvCpus"] >= 4


@pytest.mark.parametrize("name", _ENVIRONMENTS)
def test_an_environment_takes_the_cheapest_machines_that_are_free(name: str) -> None:
    resources = environment(name)["ComputeResources"]
    is_spot = "Spot" in name
    assert resources["Type"] == ("SPOT" if is_spot else "EC2")
    strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" if is_spot else "BEST_FIT_PROGRESSIVE"
    assert resources["AllocationStrategy"] == strategy
    assert not {"BidPercentage", "SpotIamFleetRole", "Ec2KeyPair"} & set(resources)
    assert len(resources["InstanceTypes"]) >= 3
    assert all("." not in family for family in resources["InstanceTypes"])
    assert resources["Subnets"] == ["subnet-1", "subnet-2"]


@pytest.mark.parametrize("name", _ENVIRONMENTS)
def test_an_environment_is_updated_in_place_and_lets_jobs_finish(name: str) -> None:
    properties = environment(name)
    assert properties["ReplaceComputeEnvironment"] is False
    assert not {"ServiceRole", "ComputeEnvironmentName"} & set(properties)
    timeout_s = parsed()["Parameters"]["TimeoutSeconds"]["Default"]
    assert properties["UpdatePolicy"]["JobExecutionTimeoutMinutes"] * 60 >= timeout_s
    assert properties["UpdatePolicy"]["TerminateJobsOnUpdate"] is False
    resources = properties["ComputeResources"]
    assert resources["UpdateToLatestImageVersion"] is True
    image_type = "ECS_AL2023_NVIDIA" if name.startswith("Gpu") else "ECS_AL2023"
    assert resources["Ec2Configuration"] == [{"ImageType": image_type}]
    in_template = parsed()["Resources"][name]["Properties"]["ComputeResources"]["LaunchTemplate"]
    assert in_template["Version"] == {"Fn::GetAtt": ["LaunchTemplate", "LatestVersionNumber"]}


def test_machines_have_encrypted_disks_and_guarded_metadata() -> None:
    [data] = [r["LaunchTemplateData"] for r in resolved().of_type("EC2::LaunchTemplate").values()]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    [disk] = data["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/xvda"
    assert disk["Ebs"] == {"VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True, "VolumeSize": 100}
    assert "KeyName" not in data


def test_nothing_comes_in() -> None:
    [group] = resolved().of_type("EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in group
    assert not resolved().of_type("EC2::SecurityGroupIngress")
    for name in _ENVIRONMENTS:
        assert environment(name)["ComputeResources"]["SecurityGroupIds"] == ["SecurityGroup"]


# --- queues ----------------------------------------------------------------------------------------------------------


def test_each_queue_has_one_environment() -> None:
    queues = resolved().of_type("Batch::JobQueue")
    used = {name: [order["ComputeEnvironment"] for order in q["ComputeEnvironmentOrder"]] for name, q in queues.items()}
    assert used == {
        "CpuQueue": ["CpuSpotEnvironment"],
        "GpuQueue": ["GpuSpotEnvironment"],
        "CpuOnDemandQueue": ["CpuOnDemandEnvironment"],
        "GpuOnDemandQueue": ["GpuOnDemandEnvironment"],
    }


def test_a_job_that_can_never_start_does_not_wait_for_ever() -> None:
    for queue in resolved().of_type("Batch::JobQueue").values():
        actions = {action["Reason"]: action for action in queue["JobStateTimeLimitActions"]}
        assert set(actions) == {
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        }
        for action in actions.values():
            assert (action["State"], action["Action"], action["MaxTimeSeconds"]) == ("RUNNABLE", "CANCEL", 600)


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _DEFINITIONS)
def test_a_definition_retries_by_the_rules_that_the_runner_sends(name: str) -> None:
    retry = definition(name)["RetryStrategy"]
    rules = [{key[0].lower() + key[1:]: value for key, value in rule.items()} for rule in retry["EvaluateOnExit"]]
    assert rules == [dict(rule) for rule in RETRY_RULES]
    assert rules[-1] == {"onReason": "*", "action": "EXIT"}  # what no rule fits would be tried again
    assert retry["Attempts"] == 5


@pytest.mark.parametrize("name", _DEFINITIONS)
def test_a_definition_has_a_timeout(name: str) -> None:
    assert definition(name)["Timeout"] == {"AttemptDurationSeconds": 86400}
    assert parsed()["Parameters"]["TimeoutSeconds"]["MinValue"] == 60  # AWS takes no shorter one


@pytest.mark.parametrize("name", _DEFINITIONS)
def test_a_definition_names_its_container_the_current_way(name: str) -> None:
    properties = definition(name)["ContainerProperties"]
    wanted = {each["Type"]: str(each["Value"]) for each in properties["ResourceRequirements"]}
    assert wanted.pop("GPU", "0") == ("1" if name == "GpuDefinition" else "0")
    assert set(wanted) == {"VCPU", "MEMORY"}
    assert not {"Vcpus", "Memory", "Volumes", "MountPoints", "User"} & set(properties)
    assert properties["Privileged"] is False
    assert properties["LinuxParameters"] == {"InitProcessEnabled": True, "SharedMemorySize": 2048}
    assert properties["JobRoleArn"].endswith(":role/JobRole")
    assert properties["LogConfiguration"]["LogDriver"] == "awslogs"
    assert properties["LogConfiguration"]["Options"]["awslogs-group"] == "/rv/rv"
    assert properties["Image"].endswith("/rv:gpu-7" if name == "GpuDefinition" else "/rv:cpu-7")
    assert definition(name)["PropagateTags"] is True


def test_the_version_of_the_images_is_a_tag_where_it_is_known() -> None:
    from rv_runner_batch.preflight import VERSION_TAG

    assert definition("CpuDefinition")["Tags"] == {VERSION_TAG: "1.2.3"}
    unknown = Resolved(RvVersion="").of_type("Batch::JobDefinition")["CpuDefinition"]
    assert "Tags" not in unknown


def test_logs_are_kept_for_a_while_and_images_are_never_overwritten() -> None:
    [group] = resolved().of_type("Logs::LogGroup").values()
    assert group["RetentionInDays"] == 30
    [repository] = resolved().of_type("ECR::Repository").values()
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert "RepositoryName" not in repository  # it outlives its stack, and a new stack could not have the same one
    assert resolved().resources["Repository"]["DeletionPolicy"] == "Retain"


# --- rights ----------------------------------------------------------------------------------------------------------


def job_policies(**parameters: str) -> list[dict[str, Any]]:
    role = Resolved(**parameters).of_type("IAM::Role")["JobRole"]
    assert "ManagedPolicyArns" not in role
    return [policy["PolicyDocument"] for policy in role["Policies"]]


@pytest.mark.parametrize(("given", "bucket"), [("", "rv-bucket"), ("our-data", "our-data")])
def test_jobs_may_use_the_objects_of_one_bucket_and_nothing_else(given: str, bucket: str) -> None:
    documents = job_policies(BucketName=given)
    assert written_buckets(documents) == [bucket]
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert allows(documents, action, f"arn:aws:s3:::{bucket}/root/a")
        assert not allows(documents, action, "arn:aws:s3:::another/root/a")
    assert allows(documents, "s3:ListBucket", f"arn:aws:s3:::{bucket}")
    statements = [statement for document in documents for statement in document["Statement"]]
    assert not any("*" in action for statement in statements for action in statement["Action"])
    assert all(statement["Resource"].startswith(f"arn:aws:s3:::{bucket}") for statement in statements)


def test_only_jobs_of_this_account_take_the_role_of_jobs() -> None:
    trust = resolved().of_type("IAM::Role")["JobRole"]["AssumeRolePolicyDocument"]
    assert trusts(trust, "ecs-tasks.amazonaws.com")
    assert trust["Statement"][0]["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert len(trust["Statement"]) == 1


def test_machines_have_the_rights_of_the_agent_and_of_session_manager_alone() -> None:
    role = resolved().of_type("IAM::Role")["InstanceRole"]
    names = [arn.rpartition("/")[2] for arn in role["ManagedPolicyArns"]]
    assert names == ["AmazonEC2ContainerServiceforEC2Role", "AmazonSSMManagedInstanceCore"]
    assert "Policies" not in role


def test_a_bucket_of_its_own_is_private_and_outlives_the_stack() -> None:
    bucket = resolved().resources["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert set(bucket["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["Properties"]["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_a_bucket_that_exists_is_used_as_it_is() -> None:
    given = Resolved(BucketName="our-data")
    assert "Bucket" not in given.resources
    assert given.outputs["Bucket"] == "our-data"


def submitter_statements() -> list[dict[str, Any]]:
    [policy] = resolved().of_type("IAM::ManagedPolicy").values()
    statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return statements


def actions_of(statement: dict[str, Any]) -> set[str]:
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)


def test_who_submits_may_do_what_the_runner_calls_and_no_more() -> None:
    called = {
        action
        for path in _SOURCES.rglob("*.py")
        for action in re.findall(r'"((?:batch|cloudformation|ec2|ecr|iam|logs):[A-Z]\w+)"', path.read_text())
    }
    assert len(called) > 15
    allowed = {action for statement in submitter_statements() for action in actions_of(statement)}
    stored = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation"}
    # Tags come with SubmitJob and are a right of their own; parts of uploads are given up by whoever began them.
    assert allowed == called | stored | {"batch:TagResource", "s3:AbortMultipartUpload"}


def test_what_the_submitter_may_do_everywhere_only_looks() -> None:
    wide = [statement for statement in submitter_statements() if statement["Resource"] == "*"]
    assert all(re.fullmatch(r"\w+:(Describe|List)\w+", action) for each in wide for action in actions_of(each))
    documents = [{"Statement": submitter_statements()}]
    batch = f"arn:aws:batch:{REGION}:123456789012"
    for resource in ("job-queue/rv-cpu", "job-queue/rv-gpu-on-demand", "job-definition/rv-cpu:3"):
        assert allows(documents, "batch:SubmitJob", f"{batch}:{resource}")
    for resource in ("job-queue/another", "job-definition/rv-cpuish:3", "job-definition/another:1"):
        assert not allows(documents, "batch:SubmitJob", f"{batch}:{resource}")
    assert written_buckets(documents) == ["rv-bucket"]
    [end] = [each for each in submitter_statements() if each["Action"] == "batch:TerminateJob"]
    assert end["Condition"] == {"StringLike": {"aws:ResourceTag/rv-run": "*"}}


def test_the_page_shows_the_policy_that_the_stack_makes() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    [policy] = resolved().of_type("IAM::ManagedPolicy").values()
    text = json.dumps(policy["PolicyDocument"])
    for value, word in _PLACEHOLDERS.items():
        text = text.replace(value, word)
    assert json.loads(shown) == json.loads(text)


def test_the_page_names_what_there_is() -> None:
    page, template = _PAGE.read_text(), parsed()
    for name in ("VpcId", "SubnetIds", "ImageTag", "RvVersion", "BucketName"):
        assert name in page
        assert name in template["Parameters"]
    for name in ("JobRole", "SubmitterPolicy", "Repository"):
        assert name in page
        assert name in template["Outputs"]
    assert len(re.findall(r"^\*\*\d+\. ", page, re.MULTILINE)) == 10


def test_jobs_carry_the_tag_that_lets_the_submitter_end_them() -> None:
    assert '"rv-run": run_id' in (_SOURCES / "submission.py").read_text()


# --- what setup and the runner read -----------------------------------------------------------------------------------


def test_the_outputs_give_every_setting_and_name_what_the_stack_makes() -> None:
    values = settings_of(resolved().stack())
    assert set(values) == set(OUTPUT_OF_SETTING)
    assert values["region"] == REGION
    queues = {queue["JobQueueName"] for queue in resolved().of_type("Batch::JobQueue").values()}
    definitions = {each["JobDefinitionName"] for each in resolved().of_type("Batch::JobDefinition").values()}
    assert {values["cpu_job_queue"], values["gpu_job_queue"]} < queues
    assert {values["cpu_job_definition"], values["gpu_job_definition"]} == definitions
    assert {resolved().outputs["CpuOnDemandJobQueue"], resolved().outputs["GpuOnDemandJobQueue"]} < queues
    assert set(SHOWN_OUTPUTS) <= set(resolved().outputs)


@pytest.mark.s3
def test_it_is_created(start_local_batch: Callable[..., LocalBatch]) -> None:
    aws = start_local_batch()
    stack = make_stack(aws.client)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    made = aws.client("cloudformation").describe_stack_resources(StackName="rv")["StackResources"]
    assert {each["LogicalResourceId"] for each in made} == set(parsed()["Resources"])
    batch = aws.client("batch")
    environments = batch.describe_compute_environments()["computeEnvironments"]
    assert len(environments) == 4
    assert {each["computeResources"]["minvCpus"] for each in environments} == {0}
    assert {queue["jobQueueName"] for queue in batch.describe_job_queues()["jobQueues"]} == {
        "rv-cpu",
        "rv-gpu",
        "rv-cpu-on-demand",
        "rv-gpu-on-demand",
    }
    assert settings_of(stack)["cpu_job_queue"] == "rv-cpu"
