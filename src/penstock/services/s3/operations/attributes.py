"""What is known of an object without its bytes."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.s3 import messages, rules
from penstock.services.s3.operations import encryption
from penstock.services.s3.operations.finding import find
from penstock.services.s3.state import Version

_PARTS_MAX = 1000
_KINDS = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


@operation
async def get_object_attributes(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    bucket, version = await ctx.store.read(lambda tx: find(tx, req))
    asked = [name.strip() for item in req.get("ObjectAttributes") or [] for name in str(item).split(",")]
    if not asked or any(name not in _KINDS for name in asked):
        raise messages.invalid_argument("Invalid attribute name specified.", "x-amz-object-attributes")
    encryption.check_reader(version, req)
    answer: dict[str, Any] = {"LastModified": rules.when(version.modified_ms)}
    if bucket.versioning:
        answer["VersionId"] = version.version_id
    if "ETag" in asked:
        answer["ETag"] = version.etag
    if "ObjectSize" in asked:
        answer["ObjectSize"] = version.size
    if "StorageClass" in asked:
        answer["StorageClass"] = version.headers.get("StorageClass", "STANDARD")
    if "Checksum" in asked and version.checksums:
        sums = {name: value.split("-")[0] for name, value in version.checksums.items()}
        answer["Checksum"] = {**sums, "ChecksumType": version.checksum_type}
    if "ObjectParts" in asked and version.parts:
        answer["ObjectParts"] = _parts(version, req)
    return answer


def _parts(version: Version, req: dict[str, Any]) -> dict[str, Any]:
    after = int(req.get("PartNumberMarker") or 0)
    count_max = min(int(req["MaxParts"]) if req.get("MaxParts") is not None else _PARTS_MAX, _PARTS_MAX)
    left = [part for part in version.parts if part[0] > after]
    shown = left[:count_max]
    return {
        "TotalPartsCount": len(version.parts),
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1][0] if shown else 0,
        "MaxParts": count_max,
        "IsTruncated": len(left) > len(shown),
        "Parts": [{"PartNumber": number, "Size": size, **sums} for number, size, sums in shown],
    }
