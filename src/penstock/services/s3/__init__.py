"""S3: buckets, objects and their events."""

from penstock.framework.service import Service
from penstock.services.s3 import background
from penstock.services.s3.operations import (
    buckets,
    copies,
    deletes,
    listings,
    multipart,
    notifications,
    objects,
    tags,
)

SERVICE = Service(
    "s3",
    operations=[buckets, objects, deletes, copies, listings, tags, multipart, notifications],
    background=background,
)
