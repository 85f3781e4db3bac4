"""S3: buckets, objects and their events."""

from penstock.framework.service import Service
from penstock.services.s3 import background
from penstock.services.s3.operations import (
    access,
    buckets,
    configurations,
    copies,
    deletes,
    listings,
    multipart,
    notifications,
    objects,
    settings,
    tags,
    versions,
)
from penstock.services.s3.operations.configurations import find_cors

__all__ = ["SERVICE", "find_cors"]

SERVICE = Service(
    "s3",
    operations=[
        buckets,
        objects,
        deletes,
        copies,
        listings,
        versions,
        tags,
        multipart,
        notifications,
        configurations,
        settings,
    ],
    background=background,
    access=access.ACCESS,
)
