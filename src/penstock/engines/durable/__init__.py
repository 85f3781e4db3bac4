"""Durable executions: what a checkpoint, a timer, a callback or the end of an invocation does to one. Pure."""
