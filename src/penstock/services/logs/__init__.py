"""CloudWatch Logs."""

from penstock.framework.service import Service
from penstock.services.logs import background
from penstock.services.logs.operations import events, groups, streams, tags
from penstock.services.logs.operations.access import ACCESS

SERVICE = Service("logs", operations=[groups, streams, events, tags], background=background, access=ACCESS)
