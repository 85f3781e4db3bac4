"""Simple Queue Service, standard and FIFO queues."""

from penstock.framework.service import Service
from penstock.services.sqs.operations import delivery, queues
from penstock.services.sqs.operations.access import ACCESS

SERVICE = Service("sqs", operations=[queues, delivery], access=ACCESS)
