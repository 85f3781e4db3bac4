"""The states of an environment; a transition that isn't in the table is a bug. Pure.

new --start--> initialising --ready--> idle <--thaw/freeze--> frozen; idle --invoke--> busy --done--> idle;
a failure while initialising or busy resets (the process is gone, /tmp stays); any state may be ended.
Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from typing import Literal

from penstock.kernel.errors import Bug

State = Literal["new", "initialising", "idle", "busy", "frozen", "reset", "ended"]
Event = Literal["start", "ready", "invoke", "done", "fail", "freeze", "thaw", "end"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("new", "start"): "initialising",
    ("reset", "start"): "initialising",
    ("initialising", "ready"): "idle",
    ("initialising", "fail"): "reset",
    ("idle", "invoke"): "busy",
    ("busy", "done"): "idle",
    ("busy", "fail"): "reset",
    ("idle", "freeze"): "frozen",
    ("idle", "fail"): "reset",
    ("frozen", "thaw"): "idle",
    ("frozen", "fail"): "reset",
}


def next_state(state: State, event: Event) -> State:
    """Raises Bug for a transition that can't be."""
    if event == "end":
        return "ended"
    if (state, event) not in TRANSITIONS:
        raise Bug(f"an environment that is {state} can't {event}")
    return TRANSITIONS[state, event]
