"""S3: buckets, objects and their events."""

from penstock.framework.service import Service
from penstock.services.s3 import background
from penstock.services.s3.operations import (
    access,
    acls,
    attributes,
    buckets,
    configurations,
    copies,
    deletes,
    lifecycle,
    listings,
    locks,
    multipart,
    notifications,
    objects,
    policies,
    refusals,
    renames,
    replication,
    restores,
    settings,
    tags,
    uploads,
    versions,
)
from penstock.services.s3.operations.configurations import find_cors
from penstock.services.s3.operations.integrity import Findings, Problem, check

__all__ = ["SERVICE", "Findings", "Problem", "check", "find_cors"]

SERVICE = Service(
    "s3",
    operations=[
        buckets,
        objects,
        attributes,
        deletes,
        copies,
        listings,
        versions,
        tags,
        multipart,
        uploads,
        notifications,
        configurations,
        settings,
        acls,
        policies,
        locks,
        lifecycle,
        refusals,
        renames,
        replication,
        restores,
    ],
    background=background,
    access=access.ACCESS,
)
