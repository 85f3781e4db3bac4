"""The door in process: find the room, run the operation."""

from penstock.framework.dispatch import Dispatcher


class LocalCaller(Dispatcher):
    """Calls rooms of this node."""
