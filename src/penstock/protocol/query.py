"""The query protocol: `Action=...&Tags.member.1.Key=...` in, XML out.

Source: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from penstock.kernel.errors import ServiceError
from penstock.model.shapes import OperationModel, Shape
from penstock.protocol import xml_values
from penstock.protocol.bodies import read_whole
from penstock.protocol.errors import declared_error, status_of
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.xml_values import MalformedXml, escape

FIELDS_MAX = 20_000
DEPTH_MAX = 30
Tree = dict[str, Any]


class QueryCodec:
    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        body = await read_whole(request, operation.name)
        try:
            text = body.decode() if body else request.query
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
        except (UnicodeDecodeError, ValueError):
            raise ServiceError("MalformedQueryString", "The query string contains a syntax error.") from None
        if operation.input is None:
            return {}
        members: dict[str, Any] = _parse(operation.input, _tree_of(pairs))
        if "QueueUrl" in operation.input.members and request.path != "/":
            members.setdefault("QueueUrl", request.path)  # a queue's URL is where its requests may be sent
        return members

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        name = operation.name
        out = [f'<{name}Response xmlns="{escape(_namespace(operation))}">']
        if operation.output is not None:
            wrapper = operation.result_wrapper or f"{name}Result"
            out.append(f"<{wrapper}>")
            xml_values.render_members(operation.output, result, out)
            out.append(f"</{wrapper}>")
        out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>")
        return _answer(200, out, request_id)

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        declared = declared_error(operation, error)
        fault = "Sender" if error.is_sender_fault else "Receiver"
        namespace = f' xmlns="{escape(_namespace(operation))}"' if operation else ""
        out = [
            f"<ErrorResponse{namespace}><Error><Type>{fault}</Type>",
            f"<Code>{escape(declared.code if declared else error.code)}</Code>",
            f"<Message>{escape(error.message)}</Message>",
            *(f"<{name}>{escape(str(value))}</{name}>" for name, value in error.fields.items()),
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        ]
        return _answer(status_of(error, declared), out, request_id)


def _answer(status: int, out: list[str], request_id: str) -> HttpResponse:
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
    return HttpResponse(status, headers, "".join(out).encode("utf-8", "surrogatepass"))


def _namespace(operation: OperationModel) -> str:
    found: str = operation.service.metadata.get("xmlNamespace", "")
    return found


def _tree_of(pairs: list[tuple[str, str]]) -> Tree:
    """`A.member.1.B=x` as nested dicts; a name that is both a value and a prefix is a value."""
    tree: Tree = {}
    for name, value in pairs:
        node = tree
        *way, last = name.split(".", DEPTH_MAX)
        for step in way:
            inner = node.get(step)
            if not isinstance(inner, dict):
                inner = node[step] = {}
            node = inner
        node[last] = value
    return tree


def _parse(shape: Shape, node: Any) -> Any:
    if shape.type == "structure":
        return _parse_structure(shape, node if isinstance(node, dict) else {})
    if shape.type == "list":
        return _parse_list(shape, node)
    if shape.type == "map":
        return _parse_map(shape, node)
    if isinstance(node, dict):
        raise _malformed("a value was expected")
    try:
        return xml_values.parse_scalar(shape, node)
    except MalformedXml as error:
        raise _malformed(str(error)) from None


def _parse_structure(shape: Shape, node: Tree) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        key = _member_name(member, name)
        if key in node:
            found[name] = _parse(member, node[key])
    return found


def _member_name(member: Shape, name: str) -> str:
    """A flattened list is called as its elements are, if they have a name."""
    if member.type == "list" and member.is_flattened and member.element.wire_name:
        return member.element.wire_name
    return member.wire_name or name


def _parse_list(shape: Shape, node: Any) -> list[Any]:
    if not isinstance(node, dict):
        return []
    name = shape.element.wire_name or "member"
    items: Any = node if shape.is_flattened else node.get(name, node.get("member", {}))
    return [_parse(shape.element, items[index]) for index in _indexes(items)]


def _parse_map(shape: Shape, node: Any) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {}
    entries = node if shape.is_flattened else node.get("entry", {})
    key_name, value_name = shape.key.wire_name or "key", shape.value.wire_name or "value"
    found = {}
    for index in _indexes(entries):
        entry = entries[index]
        if not isinstance(entry, dict) or key_name not in entry:
            raise _malformed("a map's entry needs a key")
        found[entry[key_name]] = _parse(shape.value, entry.get(value_name, ""))
    return found


def _indexes(items: Any) -> list[str]:
    if not isinstance(items, dict):
        raise _malformed("a list's elements are numbered from 1")
    try:
        return sorted(items, key=int)
    except ValueError:
        raise _malformed("a list's elements are numbered from 1") from None


def _malformed(reason: str) -> ServiceError:
    return ServiceError("MalformedInput", f"The request is malformed: {reason}.")
