"""S3's quotas, and this room's own bounds."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import GIB, KIB, MIB

INLINE_BYTES_MAX = 16 * KIB
"""Bodies up to this size live in the store beside their metadata: one commit, no file."""

BLOB_GRACE_MS = 60_000
"""An overwritten blob stays this long, so that a reader that has begun can finish."""

PUT_BYTES_MAX = Limit(5 * GIB, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html")
PART_BYTES_MIN = Limit(5 * MIB, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html")
PARTS_MAX = Limit(10_000, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html")
KEY_BYTES_MAX = Limit(1024, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html")
METADATA_BYTES_MAX = Limit(2048, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html")
TAGS_MAX = Limit(10, "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html")
BUCKET_TAGS_MAX = 50
PAGE_MAX = Limit(1000, "https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html")
