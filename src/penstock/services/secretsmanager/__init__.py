"""Secrets Manager."""

from penstock.framework.service import Service
from penstock.services.secretsmanager import background
from penstock.services.secretsmanager.operations import passwords, policies, secrets, values
from penstock.services.secretsmanager.operations.access import ACCESS

SERVICE = Service(
    "secretsmanager", operations=[secrets, values, policies, passwords], background=background, access=ACCESS
)
