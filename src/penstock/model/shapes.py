"""What AWS declares of a service: operations and the shapes of their members, read from botocore's JSON.

Traits of a member (where it travels, how it is named in XML) lie over the traits of the shape that it refers to,
as in botocore. Shapes refer to each other lazily, because they may be recursive (DynamoDB's AttributeValue).
Source: https://smithy.io/2.0/aws/protocols/index.html
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

_REFERENCE_ONLY = ("shape", "documentation")


class Shape:
    """A shape as a member sees it.

    type     structure, list, map, string, integer, long, float, double, boolean, blob or timestamp
    traits   everything else that the JSON says: min, max, pattern, enum, location, locationName, streaming, ...
    """

    def __init__(self, model: "ServiceModel", name: str, traits: Mapping[str, Any]) -> None:
        self.model = model
        self.name = name
        self.traits = traits
        self.type: str = traits["type"]

    def __repr__(self) -> str:
        return f"Shape({self.name}: {self.type})"

    @cached_property
    def members(self) -> Mapping[str, "Shape"]:
        """A structure's members by name, in the declared order."""
        return {name: self.model.resolve(ref) for name, ref in self.traits.get("members", {}).items()}

    @cached_property
    def element(self) -> "Shape":
        """What a list holds."""
        return self.model.resolve(self.traits["member"])

    @cached_property
    def key(self) -> "Shape":
        """What a map's keys are."""
        return self.model.resolve(self.traits["key"])

    @cached_property
    def value(self) -> "Shape":
        """What a map's values are."""
        return self.model.resolve(self.traits["value"])

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(self.traits.get("required", ()))

    @cached_property
    def enum(self) -> tuple[str, ...]:
        return tuple(self.traits.get("enum", ()))

    @cached_property
    def location(self) -> str | None:
        """header, headers, uri, querystring, statusCode; None: the body."""
        return self.traits.get("location")

    @cached_property
    def wire_name(self) -> str | None:
        """`locationName`: the member's name on the wire where it differs."""
        return self.traits.get("locationName")

    @cached_property
    def payload(self) -> str | None:
        """The member of a structure that is the whole body."""
        return self.traits.get("payload")

    @cached_property
    def is_flattened(self) -> bool:
        return bool(self.traits.get("flattened"))

    @cached_property
    def is_streaming(self) -> bool:
        return bool(self.traits.get("streaming"))

    @cached_property
    def is_event_stream(self) -> bool:
        return bool(self.traits.get("eventstream"))

    @cached_property
    def is_union(self) -> bool:
        return bool(self.traits.get("union"))

    @cached_property
    def is_document(self) -> bool:
        return bool(self.traits.get("document"))

    @cached_property
    def timestamp_format(self) -> str | None:
        """iso8601, rfc822 or unixTimestamp; None: the protocol's own."""
        return self.traits.get("timestampFormat")


class ErrorShape:
    """An error that the model declares. `code` is what travels, `status` the HTTP status or None if undeclared."""

    def __init__(self, shape: Shape) -> None:
        declared = shape.traits.get("error", {})
        self.shape = shape
        self.name = shape.name
        self.code: str = declared.get("code", shape.name)
        self.status: int | None = declared.get("httpStatusCode")
        self.is_sender_fault = bool(declared.get("senderFault")) or not shape.traits.get("fault")


class OperationModel:
    """One operation: its input, output, HTTP binding and errors."""

    def __init__(self, service: "ServiceModel", name: str, declared: Mapping[str, Any]) -> None:
        self.service = service
        self.name = name
        self.declared = declared
        http = declared.get("http", {})
        self.method: str = http.get("method", "POST")
        self.uri: str = http.get("requestUri", "/")
        self.status: int = http.get("responseCode", 200)

    def __repr__(self) -> str:
        return f"OperationModel({self.service.name}.{self.name})"

    @cached_property
    def input(self) -> Shape | None:
        return self.service.resolve(self.declared["input"]) if "input" in self.declared else None

    @cached_property
    def output(self) -> Shape | None:
        return self.service.resolve(self.declared["output"]) if "output" in self.declared else None

    @cached_property
    def result_wrapper(self) -> str | None:
        """The element around a query protocol's result."""
        wrapper: str | None = self.declared.get("output", {}).get("resultWrapper")
        return wrapper

    @cached_property
    def streaming_input(self) -> str | None:
        """The input member that is a stream of bytes."""
        return _streaming_member(self.input)

    @cached_property
    def streaming_output(self) -> str | None:
        """The output member that is a stream of bytes."""
        return _streaming_member(self.output)

    @cached_property
    def event_stream_output(self) -> str | None:
        """The output member that is a stream of events."""
        members = self.output.members if self.output else {}
        return next((name for name, shape in members.items() if shape.is_event_stream), None)


class ServiceModel:
    """A service as AWS declares it. `name` is the SDK's: `stepfunctions`, `s3`."""

    def __init__(self, name: str, declared: Mapping[str, Any]) -> None:
        self.name = name
        self.metadata: Mapping[str, Any] = declared["metadata"]
        self._shapes: Mapping[str, Mapping[str, Any]] = declared["shapes"]
        self._plain: dict[str, Shape] = {}
        self.operations = {
            operation: OperationModel(self, operation, spec) for operation, spec in declared["operations"].items()
        }

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        """The protocols it speaks: json, query, ec2, rest-json, rest-xml, smithy-rpc-v2-cbor."""
        return tuple(self.metadata.get("protocols") or (self.metadata["protocol"],))

    @property
    def is_query_compatible(self) -> bool:
        """Speaks json today but keeps its query error codes (SQS)."""
        return "awsQueryCompatible" in self.metadata

    @cached_property
    def errors(self) -> Mapping[str, ErrorShape]:
        """Declared errors by the shape's name and by the code that travels."""
        found: dict[str, ErrorShape] = {}
        for name, traits in self._shapes.items():
            if traits.get("exception") or "error" in traits:
                error = ErrorShape(self.shape(name))
                found.setdefault(error.code, error)
                found[name] = error
        return found

    def shape(self, name: str) -> Shape:
        """The shape by itself, with no member's traits over it."""
        if name not in self._plain:
            self._plain[name] = Shape(self, name, self._shapes[name])
        return self._plain[name]

    def resolve(self, ref: Mapping[str, Any]) -> Shape:
        """The shape that a member refers to, with the member's traits over its own."""
        own = {key: value for key, value in ref.items() if key not in _REFERENCE_ONLY}
        if not own:
            return self.shape(ref["shape"])
        return Shape(self, ref["shape"], {**self._shapes[ref["shape"]], **own})


def _streaming_member(shape: Shape | None) -> str | None:
    if shape is None or shape.payload is None:
        return None
    member = shape.members[shape.payload]
    return shape.payload if member.is_streaming or member.traits.get("requiresLength") else None
