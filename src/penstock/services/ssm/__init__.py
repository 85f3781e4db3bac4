"""Systems Manager: Parameter Store."""

from penstock.framework.service import Service
from penstock.services.ssm.operations import parameters, tags
from penstock.services.ssm.operations.access import ACCESS

SERVICE = Service("ssm", operations=[parameters, tags], access=ACCESS)
