"""Systems Manager: Parameter Store."""

from penstock.framework.service import Service
from penstock.services.ssm.operations import parameters, tags

SERVICE = Service("ssm", operations=[parameters, tags])
