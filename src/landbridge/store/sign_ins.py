"""Queries on sign-ins under way at a provider, and on the nonces that tie them to a browser."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from landbridge.errors import Conflict
from landbridge.store.database import Transaction
from landbridge.store.tables import browser_nonces, sign_ins, values_of


@dataclass(frozen=True, slots=True)
class SignInRow:
    """One attempt to connect an account. `session_key` is chosen by the SDK, which polls for the outcome with it."""

    id: str
    project_id: str
    user_id: str
    integration: str
    session_key: str
    state_hash: str
    sealed_secrets: bytes
    redirect_url: str
    options: dict[str, Any]
    created_at: datetime
    expires_at: datetime
    claimed_at: datetime | None = None
    connection_id: str | None = None
    failure: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NonceRow:
    """What one browser was given on the nonce page, by its digest; `refusal` says why a browser was given nothing."""

    hash: str
    project_id: str
    user_id: str
    integration: str
    created_at: datetime
    expires_at: datetime
    refusal: str | None = None


async def insert_sign_in(tx: Transaction, row: SignInRow) -> None:
    """Add a sign-in, or raise `Conflict` if its session key was used before."""
    try:
        await tx.execute(insert(sign_ins).values(**values_of(row)))
    except IntegrityError as error:
        raise Conflict("This oauthMetaKeyId was used before; every sign-in needs a new one.") from error


async def sign_in_by_state(tx: Transaction, state_hash: str) -> SignInRow | None:
    """Return the sign-in with this state's digest."""
    found = (await tx.execute(select(sign_ins).where(sign_ins.c.state_hash == state_hash))).one_or_none()
    return SignInRow(**found._mapping) if found else None


async def sign_in_by_session(tx: Transaction, project_id: str, user_id: str, session_key: str) -> SignInRow | None:
    """Return a user's sign-in by the key that its SDK polls with."""
    return await _own(tx, project_id, user_id, sign_ins.c.session_key == session_key)


async def sign_in_by_id(tx: Transaction, project_id: str, user_id: str, sign_in_id: str) -> SignInRow | None:
    """Return a user's sign-in by its id."""
    return await _own(tx, project_id, user_id, sign_ins.c.id == sign_in_id)


async def open_sign_in(
    tx: Transaction, project_id: str, user_id: str, integration: str, redirect_url: str, now: datetime
) -> SignInRow | None:
    """Return a user's newest sign-in that nobody has claimed, for this redirect URL."""
    found = await tx.execute(
        select(sign_ins)
        .where(
            sign_ins.c.project_id == project_id,
            sign_ins.c.user_id == user_id,
            sign_ins.c.integration == integration,
            sign_ins.c.redirect_url == redirect_url,
            sign_ins.c.claimed_at.is_(None),
            sign_ins.c.expires_at > now,
        )
        .order_by(sign_ins.c.created_at.desc())
        .limit(1)
    )
    row = found.one_or_none()
    return SignInRow(**row._mapping) if row else None


async def claim(tx: Transaction, row: SignInRow, at: datetime) -> bool:
    """Return whether this caller is the one to finish the sign-in; everybody after the first is not."""
    claimed = await tx.change(
        update(sign_ins).where(sign_ins.c.id == row.id, sign_ins.c.claimed_at.is_(None)).values(claimed_at=at)
    )
    return claimed == 1


async def finish(tx: Transaction, row: SignInRow, **outcome: Any) -> None:  # Any: columns of the table
    """Record a sign-in's outcome, `connection_id` or `failure`."""
    await tx.execute(update(sign_ins).where(sign_ins.c.id == row.id).values(**outcome))


async def insert_nonce(tx: Transaction, row: NonceRow) -> None:
    """Record what a browser was given, or why it was given nothing."""
    await tx.execute(insert(browser_nonces).values(**values_of(row)))


async def nonce(tx: Transaction, digest: str) -> NonceRow | None:
    """Return the nonce with this digest."""
    found = (await tx.execute(select(browser_nonces).where(browser_nonces.c.hash == digest))).one_or_none()
    return NonceRow(**found._mapping) if found else None


async def newest_nonce(tx: Transaction, sign_in: SignInRow) -> NonceRow | None:
    """Return what the nonce page last said to the user of this sign-in."""
    found = await tx.execute(
        select(browser_nonces)
        .where(
            browser_nonces.c.project_id == sign_in.project_id,
            browser_nonces.c.user_id == sign_in.user_id,
            browser_nonces.c.integration == sign_in.integration,
        )
        .order_by(browser_nonces.c.created_at.desc())
        .limit(1)
    )
    row = found.one_or_none()
    return NonceRow(**row._mapping) if row else None


async def delete_expired(tx: Transaction, now: datetime) -> int:
    """Delete sign-ins and nonces whose time is over; return how many."""
    gone = [await tx.change(delete(table).where(table.c.expires_at < now)) for table in (sign_ins, browser_nonces)]
    return sum(gone)


async def _own(tx: Transaction, project_id: str, user_id: str, which: Any) -> SignInRow | None:  # Any: a condition
    found = (
        await tx.execute(
            select(sign_ins).where(sign_ins.c.project_id == project_id, sign_ins.c.user_id == user_id, which)
        )
    ).one_or_none()
    return SignInRow(**found._mapping) if found else None
