"""The end of a run: a result that is infinite or NaN, and that the program still holds."""

from __future__ import annotations

from stablemax.watching.torch.findings import UsedFault
from stablemax.watching.torch.made_of_fault import made_of
from stablemax.watching.torch.observed_run import ObservedRun
from stablemax.watching.torch.ring import address_of


def fault_left(run: ObservedRun) -> UsedFault | None:
    """Find a result that is infinite or NaN at the end, where the program holds it and nothing took that out."""
    if run.check.is_over or not run.check.is_active:
        return None
    ring, made = run.check.ring.all(), dict(run.origins.made())
    taken_out = {
        address_of(t)
        for entry in ring
        if entry.plan.is_checked and entry.outputs() and not any(map(run.origins.knows, entry.outputs()))
        for t in entry.tensors
    }
    oldest = run.check.ring.oldest
    later = {
        address: made_of(origin.found, run)
        for address, origin in made.items()
        if origin.found is not None and address not in taken_out
    }
    # What lives only because it was watched is no result.
    del ring
    run.check.ring.clear()
    held = dict(run.origins.made())
    for address, origin in made.items():
        found = origin.found
        if found is not None and address in held and address not in taken_out and found.number >= oldest > 0:
            return UsedFault(found, found, None, "", "It is there at the end.", later[address])
    return None
