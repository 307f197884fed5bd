"""What an account holds of a set-up besides jobs: the stack, roles, images, networks, logs, the bucket. It only looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from rv_runner_batch.client import AwsError, BatchClient

#: Codes that say that something does not exist, whichever service says so.
_MISSING = (
    "NoSuchEntity",
    "NoSuchBucket",
    "404",
    "ImageNotFoundException",
    "RepositoryNotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateName.NotFoundException",
)
_ECR_IMAGE = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)


class AccountClient(BatchClient):
    """AWS Batch in one region and what a set-up has around it.

    Every method raises `AwsError` where AWS cannot be asked or refuses; `kind` is `denied` where the caller may not.
    """

    def caller(self) -> str:
        """The ARN of whoever asks."""
        return str(self._call("sts:GetCallerIdentity")["Arn"])

    def stack(self, name: str) -> dict[str, Any] | None:
        """The Stack of this name or ARN; None if there is none."""
        try:
            return dict(self._call("cloudformation:DescribeStacks", StackName=name)["Stacks"][0])
        except AwsError as error:
            if "does not exist" in error.block.what:
                return None
            raise

    def role(self, name: str) -> dict[str, Any] | None:
        """The Role; None if there is none."""
        answer = self._found("iam:GetRole", RoleName=name)
        return dict(answer["Role"]) if answer else None

    def inline_policies(self, role_name: str) -> list[Mapping[str, Any]]:
        """The policy documents that are part of a role."""
        names = self._call("iam:ListRolePolicies", RoleName=role_name)["PolicyNames"]
        answers = [self._call("iam:GetRolePolicy", RoleName=role_name, PolicyName=name) for name in names]
        return [policy_document(answer["PolicyDocument"]) for answer in answers]

    def attached_policies(self, role_name: str) -> list[str]:
        """The ARNs of the managed policies that a role has."""
        attached = self._call("iam:ListAttachedRolePolicies", RoleName=role_name)["AttachedPolicies"]
        return [str(policy["PolicyArn"]) for policy in attached]

    def log_group(self, name: str) -> dict[str, Any] | None:
        """The LogGroup; None if there is none."""
        groups = self._pages("logs:DescribeLogGroups", "logGroups", logGroupNamePrefix=name)
        return next((group for group in groups if group["logGroupName"] == name), None)

    def launch_template(self, specification: Mapping[str, Any]) -> dict[str, Any] | None:
        """The LaunchTemplateData that a compute environment uses; None if there is none.

        Args:
            specification: `launchTemplate` of its compute resources.
        """
        keys = {"launchTemplateId": "LaunchTemplateId", "launchTemplateName": "LaunchTemplateName"}
        which = {keys[key]: value for key, value in specification.items() if key in keys and value}
        version = str(specification.get("version") or "$Default")
        answer = self._found("ec2:DescribeLaunchTemplateVersions", **which, Versions=[version])
        versions = answer["LaunchTemplateVersions"] if answer else []
        return dict(versions[0]["LaunchTemplateData"]) if versions else None

    def security_groups(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """SecurityGroup of each id; those that do not exist are left out."""
        # By a filter: asked by its id, one that does not exist would be an error for all.
        filters = [{"Name": "group-id", "Values": sorted(set(ids))}]
        return list(self._call("ec2:DescribeSecurityGroups", Filters=filters)["SecurityGroups"])

    def has_image(self, image: str) -> bool | None:
        """Whether an image is in its repository; None where that cannot be asked here (another registry or region)."""
        match = _ECR_IMAGE.fullmatch(image)
        if match is None or match["region"] != self.region:
            return None
        which = {"imageDigest": match["digest"]} if match["digest"] else {"imageTag": match["tag"] or "latest"}
        answer = self._found(
            "ecr:DescribeImages", registryId=match["registry"], repositoryName=match["repository"], imageIds=[which]
        )
        return answer is not None

    def bucket_region(self, bucket: str) -> str | None:
        """The region of a bucket; None if there is no such bucket."""
        answer = self._found("s3:GetBucketLocation", Bucket=bucket)
        if answer is None:
            return None
        region = str(answer.get("LocationConstraint") or "us-east-1")
        return "eu-west-1" if region == "EU" else region  # what old buckets in Ireland say

    def _found(self, operation: str, **params: Any) -> dict[str, Any] | None:
        """One call; None where the answer is that something does not exist."""
        try:
            return self._call(operation, **params)
        except AwsError as error:
            if error.kind == "refused" and error.block.why in _MISSING:
                return None
            raise


def policy_document(given: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """A policy document, which botocore has decoded, or which is still URL-encoded JSON.

    Raises:
        AwsError: if it is neither.
    """
    if not isinstance(given, str):
        return given
    try:
        document: Mapping[str, Any] = json.loads(unquote(given))
    except ValueError as error:
        raise AwsError("IAM answers a policy that is not JSON", kind="refused", why=str(error)) from error
    return document
