"""S3's errors, each with its status and extra members.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from collections.abc import Mapping
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.services.s3 import limits


def no_such_bucket(name: str) -> ServiceError:
    return ServiceError("NoSuchBucket", "The specified bucket does not exist", status=404, fields={"BucketName": name})


def no_such_key(key: str, headers: Mapping[str, str] | None = None) -> ServiceError:
    fields: dict[str, Any] = {"Key": key, **({"headers": headers} if headers else {})}
    return ServiceError("NoSuchKey", "The specified key does not exist.", status=404, fields=fields)


def no_such_version(key: str, version_id: str) -> ServiceError:
    fields = {"Key": key, "VersionId": version_id}
    return ServiceError("NoSuchVersion", "The specified version does not exist.", status=404, fields=fields)


def no_such_upload(upload_id: str) -> ServiceError:
    text = (
        "The specified upload does not exist. The upload ID may be invalid, "
        "or the upload may have been aborted or completed."
    )
    return ServiceError("NoSuchUpload", text, status=404, fields={"UploadId": upload_id})


def not_found(headers: Any = None) -> ServiceError:
    """What HEAD answers: it has no body, so SDKs see the status as the code."""
    return ServiceError("404", "Not Found", status=404, fields={"headers": headers} if headers else {})


def not_modified(headers: Mapping[str, str]) -> ServiceError:
    return ServiceError("304", "Not Modified", status=304, fields={"headers": headers})


def marker_not_allowed(headers: Mapping[str, str]) -> ServiceError:
    text = "The specified method is not allowed against this resource."
    fields = {"Method": "GET", "ResourceType": "DeleteMarker", "headers": {"Allow": "DELETE", **headers}}
    return ServiceError("MethodNotAllowed", text, status=405, fields=fields)


def precondition_failed(condition: str) -> ServiceError:
    text = "At least one of the pre-conditions you specified did not hold"
    return ServiceError("PreconditionFailed", text, status=412, fields={"Condition": condition})


def invalid_range(requested: str, size: int) -> ServiceError:
    fields = {"RangeRequested": requested, "ActualObjectSize": str(size)}
    return ServiceError("InvalidRange", "The requested range is not satisfiable", status=416, fields=fields)


def invalid_argument(text: str, name: str = "", value: str = "") -> ServiceError:
    fields = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return ServiceError("InvalidArgument", text, status=400, fields=fields)


def invalid_request(text: str) -> ServiceError:
    return ServiceError("InvalidRequest", text, status=400)


def invalid_bucket_name(name: str) -> ServiceError:
    return ServiceError(
        "InvalidBucketName", "The specified bucket is not valid.", status=400, fields={"BucketName": name}
    )


def bucket_owned_by_you(name: str) -> ServiceError:
    text = "Your previous request to create the named bucket succeeded and you already own it."
    return ServiceError("BucketAlreadyOwnedByYou", text, status=409, fields={"BucketName": name})


def bucket_exists(name: str) -> ServiceError:
    text = (
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again."
    )
    return ServiceError("BucketAlreadyExists", text, status=409, fields={"BucketName": name})


def bucket_not_empty(name: str) -> ServiceError:
    text = "The bucket you tried to delete is not empty"
    return ServiceError("BucketNotEmpty", text, status=409, fields={"BucketName": name})


def location_mismatch(region: str) -> ServiceError:
    text = (
        f"The {region} location constraint is incompatible for the region specific endpoint this request was sent to."
    )
    return ServiceError("IllegalLocationConstraintException", text, status=400)


def bad_md5(expected: str, calculated: str) -> ServiceError:
    text = "The Content-MD5 you specified did not match what we received."
    fields = {"ExpectedDigest": expected, "CalculatedDigest": calculated}
    return ServiceError("BadDigest", text, status=400, fields=fields)


def bad_digest(what: str) -> ServiceError:
    return ServiceError("BadDigest", f"The {what} you specified did not match the calculated checksum.", status=400)


def invalid_digest(value: str) -> ServiceError:
    text = "The Content-MD5 you specified was invalid."
    return ServiceError("InvalidDigest", text, status=400, fields={"Content-MD5": value})


def entity_too_large(size_max: int) -> ServiceError:
    text = "Your proposed upload exceeds the maximum allowed size"
    return ServiceError("EntityTooLarge", text, status=400, fields={"MaxSizeAllowed": str(size_max)})


def entity_too_small(part_number: int, etag: str, size: int, size_min: int) -> ServiceError:
    text = "Your proposed upload is smaller than the minimum allowed size"
    fields = {"ETag": etag, "MinSizeAllowed": str(size_min), "PartNumber": str(part_number), "ProposedSize": str(size)}
    return ServiceError("EntityTooSmall", text, status=400, fields=fields)


def invalid_part(upload_id: str, number: int, etag: str) -> ServiceError:
    text = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, "
        "or the specified entity tag may not match the part's entity tag."
    )
    fields = {"UploadId": upload_id, "PartNumber": str(number), "ETag": etag}
    return ServiceError("InvalidPart", text, status=400, fields=fields)


def invalid_part_order() -> ServiceError:
    text = "The list of parts was not in ascending order. Parts must be ordered by part number."
    return ServiceError("InvalidPartOrder", text, status=400)


def malformed_xml() -> ServiceError:
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return ServiceError("MalformedXML", text, status=400)


def access_denied() -> ServiceError:
    return ServiceError("AccessDenied", "Access Denied", status=403)


def access_denied_by_lock() -> ServiceError:
    return ServiceError("AccessDenied", "Access Denied because object protected by object lock.", status=403)


def acls_not_supported() -> ServiceError:
    return ServiceError("AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)


def acl_with_ownership() -> ServiceError:
    text = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    return ServiceError("InvalidBucketAclWithObjectOwnership", text, status=400)


def acl_with_public_block() -> ServiceError:
    text = "Bucket cannot have public ACLs set with BlockPublicAccess enabled"
    return ServiceError("InvalidBucketAclWithBlockPublicAccessError", text, status=400)


def no_lock_configuration() -> ServiceError:
    return invalid_request("Bucket is missing Object Lock Configuration")


def invalid_bucket_state(text: str) -> ServiceError:
    return ServiceError("InvalidBucketState", text, status=409)


def invalid_object_state(storage_class: str, text: str = "") -> ServiceError:
    text = text or "The operation is not valid for the object's storage class"
    return ServiceError("InvalidObjectState", text, status=403, fields={"StorageClass": storage_class})


def invalid_storage_class() -> ServiceError:
    return ServiceError("InvalidStorageClass", "The storage class you specified is not valid", status=400)


def method_not_allowed(method: str, resource: str) -> ServiceError:
    text = "The specified method is not allowed against this resource."
    return ServiceError("MethodNotAllowed", text, status=405, fields={"Method": method, "ResourceType": resource})


def public_policy_blocked(principal: str, bucket: str) -> ServiceError:
    text = (
        f"User: {principal} is not authorized to perform: s3:PutBucketPolicy on resource: "
        f'"arn:aws:s3:::{bucket}" because public policies are prevented by the BlockPublicPolicy setting in S3 Block '
        "Public Access."
    )
    return ServiceError("AccessDenied", text, status=403)


def malformed_policy(text: str) -> ServiceError:
    return ServiceError("MalformedPolicy", text, status=400)


def key_too_long(size: int, size_max: int) -> ServiceError:
    fields = {"Size": str(size), "MaxSizeAllowed": str(size_max)}
    return ServiceError("KeyTooLongError", "Your key is too long", status=400, fields=fields)


def metadata_too_large(size: int, size_max: int) -> ServiceError:
    text = "Your metadata headers exceed the maximum allowed metadata size"
    fields = {"Size": str(size), "MaxSizeAllowed": str(size_max)}
    return ServiceError("MetadataTooLarge", text, status=400, fields=fields)


def too_many_tags(count_max: int) -> ServiceError:
    is_object = count_max == limits.TAGS_MAX.value
    text = "Object tags cannot be greater than 10" if is_object else "Bucket tag count cannot be greater than 50"
    return ServiceError("BadRequest", text, status=400)


def invalid_tag(text: str) -> ServiceError:
    return ServiceError("InvalidTag", text, status=400)


def copy_to_itself() -> ServiceError:
    return invalid_request(
        "This copy request is illegal because it is trying to copy an object to itself without changing the "
        "object's metadata, storage class, website redirect location or encryption attributes."
    )


def no_such_configuration(code: str, text: str, bucket: str) -> ServiceError:
    return ServiceError(code, text, status=404, fields={"BucketName": bucket})


def unreachable_destination(arn: str, reason: str) -> ServiceError:
    text = "Unable to validate the following destination configurations"
    return invalid_argument(text, arn, reason)


def overlapping_notifications() -> ServiceError:
    return invalid_argument(
        "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are "
        "overlapping for the same event type."
    )


def invalid_part_number(number: int, count: int) -> ServiceError:
    fields = {"PartNumberRequested": str(number), "ActualPartCount": str(count)}
    return ServiceError("InvalidPartNumber", "The requested partnumber is not satisfiable", status=416, fields=fields)


def not_implemented(what: str) -> ServiceError:
    text = f"A header you provided implies functionality that is not implemented: {what}"
    return ServiceError("NotImplemented", text, status=501)


def no_such_lock(code: str, text: str, key: str) -> ServiceError:
    return ServiceError(code, text, status=404, fields={"Key": key})


def unresolvable_email(address: str) -> ServiceError:
    text = "The email address you provided does not match any account on record."
    return ServiceError("UnresolvableGrantByEmailAddress", text, status=400, fields={"EmailAddress": address})


def unexpected_content() -> ServiceError:
    return ServiceError("UnexpectedContent", "This request does not support content", status=400)


def missing_security_header() -> ServiceError:
    text = "Your request was missing a required header"
    return ServiceError("MissingSecurityHeader", text, status=400, fields={"MissingHeaderName": "x-amz-acl"})


def malformed_acl() -> ServiceError:
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return ServiceError("MalformedACLError", text, status=400)


def copy_of_marker() -> ServiceError:
    return invalid_request("The source of a copy request may not specifically refer to a delete marker by version id.")


def checksum_type_mismatch(expected: str, actual: str) -> ServiceError:
    return invalid_request(
        f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )


def checksum_of_part_missing(algorithm: str, number: int) -> ServiceError:
    return invalid_request(
        f"The upload was created using a {algorithm} checksum. The complete request must include the checksum for "
        f"each part. It was missing for part {number} in the request."
    )


def checksum_mode_differs(kind: str) -> ServiceError:
    return invalid_request(
        f"The upload was created using the {kind} checksum mode. The complete request must use the same checksum mode."
    )


def size_differs(stated: int, computed: int) -> ServiceError:
    return invalid_request(
        f"The provided 'x-amz-mp-object-size' header value {stated} does not match what was computed: {computed}"
    )


def no_directory_buckets() -> ServiceError:
    text = "Directory buckets (S3 Express One Zone) are not implemented here; use a general purpose bucket."
    return ServiceError("NotImplemented", text, status=501)


def wrong_customer_key() -> ServiceError:
    text = "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
    return ServiceError("AccessDenied", text, status=403)


def no_overrides_for_anonymous() -> ServiceError:
    return invalid_request("Request specific response headers cannot be used for anonymous GET requests.")


def invalid_location(region: str) -> ServiceError:
    text = "The specified location-constraint is not valid"
    return ServiceError("InvalidLocationConstraint", text, status=400, fields={"LocationConstraint": region})


def no_log_target(bucket: str) -> ServiceError:
    text = "The target bucket for logging does not exist"
    return ServiceError("InvalidTargetBucketForLogging", text, status=400, fields={"TargetBucket": bucket})


def invalid_redirect() -> ServiceError:
    text = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."
    return ServiceError("InvalidRedirectLocation", text, status=400)
