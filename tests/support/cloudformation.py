"""A template of CloudFormation as plain values, under given parameters.

Only the functions that ours uses; ARNs and other attributes are spelled as AWS does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


TEMPLATE = Path(__file__).parents[2] / "deploy" / "template.yaml"
REGION, ACCOUNT, STACK = "us-east-1", "123456789012", "recon-claims"
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::StackName": STACK,
}
# Parameters that a stack needs.
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:recon-app-AbCdEf"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"
GIVEN = {
    "Dataset": "inpatient",
    "Keys": "DESYNPUF_ID,CLM_ID,SEGMENT",
    "Bucket": "claims-bucket",
    "BucketOwner": ACCOUNT,
    "ImageTag": "0.1.0",
    "DatabaseSecretArn": SECRET,
    "Subnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "SecurityGroups": "sg-0123456789abcdef0",
}
ABSENT = object()
ARNS = {
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::ECR::Repository": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::ECS::Cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
}


class _Loader(yaml.SafeLoader):
    """YAML with the short forms of functions."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def parsed() -> dict[str, Any]:
    template: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)  # noqa: S506
    return template


@dataclass(slots=True)
class Stack:
    """The template with its parameters; values come out resolved."""

    given: dict[str, str]
    template: dict[str, Any] = field(default_factory=parsed)

    def properties(self, name: str) -> Any:
        return self.value(self.template["Resources"][name]["Properties"])

    def value(self, node: Any) -> Any:  # noqa: PLR0911 - one for each function
        match node:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda m: self._sub(m[1]), text)
            case {"Fn::If": [condition, yes, no]}:
                return self.value(yes if self.holds(condition) else no)
            case dict():
                pairs = ((key, self.value(item)) for key, item in node.items())
                return {key: item for key, item in pairs if item is not ABSENT}
            case list():
                items = map(self.value, node)
                return [item for item in items if item is not ABSENT]
        return node

    def holds(self, condition: str) -> bool:
        return self._holds(self.template["Conditions"][condition])

    def _holds(self, node: Any) -> bool:
        match node:
            case {"Fn::Equals": [one, other]}:
                return bool(self.value(one) == self.value(other))
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Fn::And": inner}:
                return all(map(self._holds, inner))
            case {"Condition": name}:
                return self.holds(name)
        raise AssertionError(node)

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return ABSENT
        if name in PSEUDO:
            return PSEUDO[name]
        parameter = self.template["Parameters"].get(name)
        if parameter is None:
            return f"{STACK}-{name}"
        value = self.given.get(name, parameter.get("Default"))
        assert value is not None, name
        return value.split(",") if parameter["Type"].startswith("List") else value

    def _sub(self, name: str) -> str:
        if "." in name:
            return self._attribute(*name.split(".", 1))
        return str(self._ref(name))

    def _attribute(self, name: str, attribute: str) -> str:
        if attribute != "Arn":
            return f"{ACCOUNT}/{STACK}-{name}.{attribute}"
        kind = self.template["Resources"][name]["Type"]
        return ARNS[kind].format(f"{STACK}-{name}")
