"""Identity and Access Management: users, roles, policies, access keys."""

from penstock.framework.service import Service
from penstock.services.iam.operations import attachments, inline, policies, roles, users
from penstock.services.iam.state import PolicySource

__all__ = ["SERVICE"]

SERVICE = Service("iam", operations=[users, roles, policies, attachments, inline], policy_source=PolicySource())
