"""Protocol name to codec."""

from collections.abc import Mapping
from typing import Any, Protocol

from penstock.kernel.errors import Bug, ServiceError
from penstock.model.shapes import OperationModel
from penstock.protocol.amz_cbor import AmzCborCodec
from penstock.protocol.json_rpc import JsonCodec
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.query import QueryCodec
from penstock.protocol.rest_json import RestJsonCodec
from penstock.protocol.rest_xml import RestXmlCodec
from penstock.protocol.rpc_cbor import RpcCborCodec


class Codec(Protocol):
    """One of AWS's protocols, both ways.

    Members inside are Python's: str, int, float, bool, bytes, dict, list, datetime (UTC), and ByteStream for a member
    that streams. Members that are None are left out; what the model doesn't name is ignored coming in and left out
    going out.
    """

    async def parse_request(
        self, operation: OperationModel, request: HttpRequest, path_labels: Mapping[str, str]
    ) -> dict[str, Any]:
        """The members that a request carries. Raises ServiceError in the protocol's words."""

    def serialize_response(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> HttpResponse:
        """The answer to a call that went well."""

    def serialize_error(self, operation: OperationModel | None, error: ServiceError, request_id: str) -> HttpResponse:
        """The answer to one that didn't; `operation` is None where none was recognised."""


_CODECS: Mapping[str, Codec] = {
    "amz-cbor": AmzCborCodec(),
    "json": JsonCodec(),
    "query": QueryCodec(),
    "rest-json": RestJsonCodec(),
    "rest-xml": RestXmlCodec(),
    "smithy-rpc-v2-cbor": RpcCborCodec(),
}


def codec_for(protocol: str) -> Codec:
    """Raises Bug for a protocol that isn't spoken."""
    if protocol not in _CODECS:
        raise Bug(f"no codec for {protocol}")
    return _CODECS[protocol]
