"""Security Token Service: who am I, and credentials for a while."""

from penstock.framework.service import Access, Service
from penstock.services.sts.operations import identities, sessions

__all__ = ["SERVICE"]

SERVICE = Service(
    "sts",
    operations=[identities, sessions],
    access=Access(
        {
            "GetCallerIdentity": (),
            "GetSessionToken": (),
            "AssumeRole": (),  # the trust policy decides, with the identity's own: sessions.py
        }
    ),
)
