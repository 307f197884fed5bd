"""The template as values: parsed, with its functions worked out, as AWS would describe it, and made in moto."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

ACCOUNT = "123456789012"
REGION = "eu-central-1"
PARAMETERS = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2", "ImageTag": "7", "RvVersion": "1.2.3"}
_PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::StackName": "rv",
}
_ATTRIBUTES = {
    "Repository.RepositoryUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/rv",
    "Repository.Arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/rv",
    "JobRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/JobRole",
    "InstanceProfile.Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/InstanceProfile",
    "LaunchTemplate.LatestVersionNumber": "1",
}
_NAMES = {"Bucket": "rv-bucket", "LogGroup": "/rv/rv"}


def parsed() -> dict[str, Any]:
    """The template with its functions as JSON has them: `{"Ref": …}`, `{"Fn::Sub": …}`."""
    import yaml

    from rv_runner_batch.setup.template import template_text

    class Loader(yaml.SafeLoader):
        """Knows the short forms of functions."""

    def function(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
            value = value.split(".", 1) if suffix == "GetAtt" else value
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", function)
    template: dict[str, Any] = yaml.load(template_text(), Loader)
    return template


class Resolved:
    """The template for some parameters, every function worked out.

    Args:
        parameters: added to PARAMETERS.
    """

    def __init__(self, **parameters: str) -> None:
        self._template = parsed()
        self._given = {**PARAMETERS, **parameters}
        made = {name: r for name, r in self._template["Resources"].items() if self._is_made(r)}
        self.resources: dict[str, dict[str, Any]] = {name: self._value(r) for name, r in made.items()}
        self.outputs = {name: self._value(output["Value"]) for name, output in self._template["Outputs"].items()}

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Name -> properties of every resource of a type."""
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == f"AWS::{kind}"}

    def stack(self) -> dict[str, Any]:
        """The stack, as DescribeStacks would answer it."""
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in self.outputs.items()]
        return {"StackName": "rv", "StackStatus": "CREATE_COMPLETE", "Outputs": outputs}

    def _is_made(self, resource: Mapping[str, Any]) -> bool:
        return "Condition" not in resource or self._condition(resource["Condition"])

    def _condition(self, name: str) -> bool:
        return bool(self._value(self._template["Conditions"][name]))

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(self._value, value) if each is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1 and (name := next(iter(value))) in self._functions:
            return self._functions[name](value[name])
        return {key: each for key, each in ((k, self._value(v)) for k, v in value.items()) if each is not None}

    @property
    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": self._ref,
            "Fn::GetAtt": lambda path: _ATTRIBUTES[".".join(path)],
            "Fn::Sub": self._sub,
            "Fn::If": lambda args: self._value(args[1] if self._condition(args[0]) else args[2]),
            "Fn::Equals": lambda args: self._value(args[0]) == self._value(args[1]),
            "Fn::Not": lambda args: not self._value(args[0]),
        }

    def _ref(self, name: str) -> Any:
        if name in self._template["Parameters"]:
            parameter = self._template["Parameters"][name]
            value = self._given.get(name, parameter.get("Default"))
            if parameter["Type"] == "Number":
                return int(value)
            return value.split(",") if "List" in parameter["Type"] else value
        return None if name == "AWS::NoValue" else _PSEUDO.get(name, _NAMES.get(name, name))

    def _sub(self, given: Any) -> str:
        text, names = given if isinstance(given, list) else (given, {})
        return re.sub(
            r"\$\{([^}]+)\}",
            lambda m: str(
                self._value(names[m[1]]) if m[1] in names else _ATTRIBUTES[m[1]] if "." in m[1] else self._ref(m[1])
            ),
            text,
        )


def as_described(value: Any, *, is_map: bool = False) -> Any:
    """Properties as the API of AWS Batch names them: `MinvCpus` is `minvCpus`; keys of tags and options stay."""
    if isinstance(value, list):
        return [as_described(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key if is_map else key[0].lower() + key[1:]: as_described(each, is_map=key in ("Tags", "Options"))
        for key, each in value.items()
    }


def make_stack(client_of: Callable[[str], Any], **parameters: str) -> dict[str, Any]:
    """Create the stack `rv` in moto and return it, as DescribeStacks answers it.

    moto wants a service role for compute environments, which the template leaves out on purpose, gives repositories
    names in capitals, which it then refuses, does not split the defaults of lists, and garbles policies.
    """
    template = parsed()
    role = client_of("iam").create_role(RoleName="batch-service", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Batch::ComputeEnvironment":
            resource["Properties"]["ServiceRole"] = role
    template["Resources"]["Repository"]["Properties"]["RepositoryName"] = "rv"
    ec2 = client_of("ec2")
    subnets = sorted(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"])[:2]
    lists = {name: p["Default"] for name, p in template["Parameters"].items() if p["Type"] == "CommaDelimitedList"}
    # The catalogue of instance types that moto has stops before the newest families.
    lists["GpuInstanceTypes"] = "g4dn,g5"
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    given = {**lists, "VpcId": vpc, "SubnetIds": ",".join(subnets), "ImageTag": "7", **parameters}
    cloudformation = client_of("cloudformation")
    cloudformation.create_stack(
        StackName="rv",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    _mend_policies(client_of("iam"))
    stack: dict[str, Any] = cloudformation.describe_stacks(StackName="rv")["Stacks"][0]
    return stack


def _mend_policies(iam: Any) -> None:
    """moto keeps the policies of a stack's roles as Python writes dictionaries, not as JSON."""
    for role in iam.list_roles()["Roles"]:
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            kept = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            document = json.dumps(ast.literal_eval(kept) if isinstance(kept, str) else kept)
            iam.put_role_policy(RoleName=role["RoleName"], PolicyName=name, PolicyDocument=document)
