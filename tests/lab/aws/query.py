"""The query protocols of EC2 and STS in both directions. What botocore's service models do not know is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


class Refused(Exception):  # noqa: N818  (an answer)
    """The API answers with an error (EC2's "Error codes")."""

    def __init__(self, code: str, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.headers = code, message, status, dict(headers or {})


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operation(service: str, form: Mapping[str, str]) -> OperationModel:
    name = form.get("Action", "")
    if form.get("Version") != model(service).api_version:
        raise Refused("InvalidParameterValue", f"Version {form.get('Version')!r}")
    if name not in model(service).operation_names:
        raise Refused("InvalidAction", f"The action {name} is not valid for this web service.")
    return model(service).operation_model(name)


def parameters(asked: OperationModel, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the form as parameters of the operation. Raises Refused for anything that its model does not have."""
    tree: dict[str, Any] = {}
    for key, value in form.items():
        if key not in {"Action", "Version"}:
            _plant(tree, key, value)
    shape = asked.input_shape
    if shape is None:
        return {}
    found: dict[str, Any] = _read(tree, shape, "")
    report = ParamValidator().validate(found, shape)
    if report.has_errors():
        raise Refused("MissingParameter", report.generate_report())
    return found


def _plant(tree: dict[str, Any], key: str, value: str) -> None:
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
    tree[last] = value


def _read(given: Any, shape: Shape, path: str) -> Any:
    if isinstance(shape, StructureShape):
        return _read_structure(given, shape, path)
    if isinstance(shape, ListShape):
        numbers = sorted(given, key=int)
        if numbers != [str(n) for n in range(1, len(numbers) + 1)]:
            raise Refused("InvalidParameterValue", f"{path}: number the items from 1")
        return [_read(given[number], shape.member, f"{path}.{number}") for number in numbers]
    return _read_scalar(given, shape, path)


def _read_structure(given: Any, shape: StructureShape, path: str) -> dict[str, Any]:
    names = {_query_name(member, name): (name, member) for name, member in shape.members.items()}
    unknown = sorted(given.keys() - names.keys())
    if unknown:
        raise Refused("UnknownParameter", f"The parameter {path}{unknown[0]} is not recognized")
    return {names[key][0]: _read(value, names[key][1], f"{path}{key}") for key, value in given.items()}


def _read_scalar(given: Any, shape: Shape, path: str) -> Any:
    if not isinstance(given, str):
        raise Refused("InvalidParameterValue", f"{path} is not a {shape.type_name}")
    if shape.type_name == "boolean":
        if given not in {"true", "false"}:
            raise Refused("InvalidParameterValue", f"{path}: {given!r} is not true or false")
        return given == "true"
    if shape.type_name in {"integer", "long"}:
        return int(given)
    return given


def _query_name(member: Shape, name: str) -> str:
    serialization: Mapping[str, str] = member.serialization
    if "queryName" in serialization:
        return serialization["queryName"]
    return serialization["name"][0].upper() + serialization["name"][1:] if "name" in serialization else name


def answer(asked: OperationModel, result: Mapping[str, Any]) -> str:
    """Return the answer as XML. Fails if the answer does not match botocore's model."""
    shape = asked.output_shape
    if shape is not None:
        report = ParamValidator().validate(dict(result), shape)
        assert not report.has_errors(), f"{asked.name}: {report.generate_report()}"
        assert result.keys() <= shape.members.keys(), (asked.name, result.keys())
    body = _written(result, shape) if shape is not None else "<return>true</return>"
    if asked.service_model.service_name == "sts":
        body = f"<{asked.name}Result>{body}</{asked.name}Result>"
    return f'<{asked.name}Response xmlns="{NAMESPACE}"><requestId>fake</requestId>{body}</{asked.name}Response>'


def _written(value: Any, shape: Shape) -> str:
    if isinstance(shape, StructureShape):
        parts = []
        for name, inner in value.items():
            member = shape.members[name]
            tag = member.serialization.get("name", name)
            parts.append(f"<{tag}>{_written(inner, member)}</{tag}>")
        return "".join(parts)
    if isinstance(shape, ListShape):
        tag = shape.member.serialization.get("name", "member")
        return "".join(f"<{tag}>{_written(each, shape.member)}</{tag}>" for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    return escape(value.strftime("%Y-%m-%dT%H:%M:%SZ") if shape.type_name == "timestamp" else str(value))


def refusal(refused: Refused, service: str) -> str:
    said = f"<Code>{refused.code}</Code><Message>{escape(refused.message)}</Message>"
    if service == "sts":
        return f"<ErrorResponse><Error>{said}</Error><RequestId>fake</RequestId></ErrorResponse>"
    return f"<Response><Errors><Error>{said}</Error></Errors><RequestID>fake</RequestID></Response>"
