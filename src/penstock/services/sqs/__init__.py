"""Simple Queue Service, standard queues."""

from penstock.framework.service import Service
from penstock.services.sqs.operations import delivery, queues

SERVICE = Service("sqs", operations=[queues, delivery])
