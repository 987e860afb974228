"""The control API's hand on the sandbox itself: its state, switches, time, ledger and faults."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

from msgraph_sandbox.control.bodies import ONE, Advance, Missing, Routes, Wrong, checked, or_wrong, takes
from msgraph_sandbox.control.people import app_json, user_json
from msgraph_sandbox.faults import Fault
from msgraph_sandbox.http import Json, Request
from msgraph_sandbox.ledger import Entry
from msgraph_sandbox.switches import Switches
from msgraph_sandbox.world import World

_FIELDS = frozenset(field.name for field in fields(Entry))


async def state(world: World, request: Request) -> Json:
    """Return who and what there is."""
    directory = world.directory
    return {
        **world.urls,
        "now": world.clock.now().isoformat(),
        "tenants": [{"id": t.id, "domain": t.domain, "name": t.name} for t in directory.tenants.values()],
        "users": [user_json(user) for user in directory.users.values()],
        "apps": [app_json(app) for app in directory.applications.values()],
        "drives": [
            {
                "id": d.id,
                "name": d.owner.name,
                "kind": d.kind,
                "owner": d.owner.email,
                "items": len(d.items),
                "used": d.root.size,
            }
            for d in world.library.drives.values()
        ],
        "requests": world.ledger.count,
    }


async def switches(world: World, request: Request) -> Json:
    """Return the switches."""
    return world.switches.model_dump()


@takes(Switches)
async def set_switches(world: World, request: Request) -> Json:
    """Change some switches and return all."""
    given = await request.json_object()
    merged = checked(Switches, {**world.switches.model_dump(), **given})
    for name in given:
        setattr(world.switches, name, getattr(merged, name))
    return world.switches.model_dump()


async def clock(world: World, request: Request) -> Json:
    """Return the present."""
    return {"now": world.clock.now().isoformat()}


@takes(Advance)
async def advance(world: World, request: Request) -> Json:
    """Move the present forward."""
    by = checked(Advance, await request.json_object())
    return {"now": or_wrong(lambda: world.clock.advance(timedelta(seconds=by.seconds))).isoformat()}


async def ledger(world: World, request: Request) -> Json:
    """Return the entries that fit the query, and how many there are."""
    wanted = dict(request.query)
    after = wanted.pop("after", "0")
    if not after.isdigit() or not wanted.keys() <= _FIELDS:
        raise Wrong(f"Filter by these: after, {', '.join(sorted(_FIELDS))}.")
    entries = [entry.json() for entry in world.ledger.find(wanted, int(after))]
    return {"count": len(entries), "last": world.ledger.count, "entries": entries}


async def clear_ledger(world: World, request: Request) -> Json:
    """Forget all entries."""
    world.ledger.clear()


async def faults(world: World, request: Request) -> Json:
    """Return all planted faults."""
    return {"faults": [planted.json() for planted in world.faults.all()]}


@takes(Fault)
async def plant_fault(world: World, request: Request) -> Json:
    """Plant a fault and return it with its id."""
    return world.faults.plant(checked(Fault, await request.json_object())).json()


async def clear_faults(world: World, request: Request) -> Json:
    """Remove all faults."""
    world.faults.clear()


async def remove_fault(world: World, request: Request, name: str) -> Json:
    """Remove one fault."""
    if not world.faults.remove(name):
        raise Missing(f"There is no fault {name}.")


async def reset(world: World, request: Request) -> Json:
    """Go back to the state at start; the announced credentials stay good."""
    world.reset()


ROUTES: Routes = (
    ("GET", "(?:/state)?", state),
    ("POST", "/reset", reset),
    ("GET", "/switches", switches),
    ("PATCH", "/switches", set_switches),
    ("GET", "/clock", clock),
    ("POST", "/clock", advance),
    ("GET", "/ledger", ledger),
    ("DELETE", "/ledger", clear_ledger),
    ("GET", "/faults", faults),
    ("POST", "/faults", plant_fault),
    ("DELETE", "/faults", clear_faults),
    ("DELETE", f"/faults{ONE}", remove_fault),
)
