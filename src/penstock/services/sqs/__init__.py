"""Simple Queue Service, standard and FIFO queues."""

from penstock.framework.service import Service
from penstock.services.sqs import background
from penstock.services.sqs.operations import delivery, moves, permissions, queues, receiving, sending, tags
from penstock.services.sqs.operations.access import ACCESS

SERVICE = Service(
    "sqs",
    operations=[queues, sending, receiving, delivery, tags, permissions, moves],
    background=background,
    access=ACCESS,
)
