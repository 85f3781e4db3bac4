"""Lambda: functions, their versions and invocations."""

from penstock.framework.service import Service
from penstock.services.lambda_ import background
from penstock.services.lambda_.operations import access, functions, invocations

SERVICE = Service("lambda", operations=[functions, invocations], background=background, access=access.ACCESS)
