"""Everything that the sandbox holds, built from a seed and thrown away by a reset."""

from __future__ import annotations

from pathlib import Path

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blobs
from msgraph_sandbox.drive.library import Library, Origins
from msgraph_sandbox.faults import Faults
from msgraph_sandbox.graph.copies import MonitorService
from msgraph_sandbox.graph.downloads import DownloadService
from msgraph_sandbox.graph.service import GraphService
from msgraph_sandbox.graph.transfers import TransferService
from msgraph_sandbox.graph.uploads import UploadService
from msgraph_sandbox.http import Json
from msgraph_sandbox.identity.directory import Application, Directory, User
from msgraph_sandbox.identity.service import SignInService
from msgraph_sandbox.identity.tokens import Issuer
from msgraph_sandbox.keeping.keeper import Keeper
from msgraph_sandbox.ledger import Ledger
from msgraph_sandbox.notifier import Notifier, Subscription
from msgraph_sandbox.operation import Service
from msgraph_sandbox.seed import Seed, plant
from msgraph_sandbox.switches import Switches

# The scopes of the refresh tokens that are handed out at start.
READY_SCOPES = frozenset(
    {
        "openid",
        "profile",
        "email",
        "offline_access",
        "User.Read",
        "Files.Read",
        "Files.ReadWrite",
        "Files.Read.All",
        "Files.ReadWrite.All",
    }
)


class World:
    """The state of one sandbox, and the services that answer from it."""

    def __init__(self, seed: Seed, switches: Switches, origins: Origins, spool: Path, data: Path | None = None) -> None:
        self.seed = seed
        self.switches = switches
        self._switches_at_start = switches.model_dump()
        # Where everything listens, and the refresh tokens that were announced; a reset keeps both.
        self.urls: dict[str, Json] = {}
        self._ready: dict[str, str] = {}
        self.origins = origins
        self.clock = Clock()
        self.ledger = Ledger()
        self.faults = Faults()
        self.directory = Directory()
        self.issuer = Issuer(self.clock, switches)
        self.notifier = Notifier(self.clock, switches, self._stands)
        self.library = Library(
            self.clock,
            switches,
            Blobs(data or spool),
            origins,
            on_change=self.notifier.changed,
            on_sharing=lambda drive_id: self.notifier.changed(drive_id, security=True),
        )
        self.sign_in = SignInService(self.directory, self.issuer, self.switches, origins.graph)
        self.library.blobs.kept = data is not None
        plant(seed, self.directory, self.library)
        self._keeper: Keeper | None = None
        if data is not None:
            self._keeper = Keeper(data, self.clock, self.library, self.directory, self.issuer, self.notifier)
            self._keeper.load()

    def _stands(self, subscription: Subscription) -> bool:
        """Whether a subscription's creator may still be told: their grant has not ended since they last vouched."""
        if self.switches.pause_notifications == "token" and subscription.token_expires <= self.clock.now():
            return False
        user = self.directory.users.get(subscription.creator_id)
        if user is None:
            return subscription.creator_id in self.directory.applications
        ended = (user.tokens_valid_from, self.directory.withdrawn(subscription.application_id, user))
        return not user.disabled and all(one is None or one <= subscription.authorized for one in ended)

    def services(self, origins: Origins) -> list[Service]:
        """Return the hosts of the sandbox, whose links lead to `origins`."""
        library = self.library.seen_from(origins)
        return [
            self.sign_in,
            GraphService(self.directory, self.issuer, library, self.notifier),
            TransferService("upload", "upload", UploadService(library).answer),
            TransferService("download", "download", DownloadService(library).download),
            TransferService("monitor", "monitor", MonitorService(library).answer),
        ]

    def reset(self) -> None:
        """Go back to the state at start. Time stays where it is, and the announced refresh tokens stay good."""
        for name, value in self._switches_at_start.items():
            setattr(self.switches, name, value)
        self.ledger.clear()
        self.faults.clear()
        self.notifier.clear()
        self.directory.clear()
        self.library.clear()
        self.issuer.clear()
        self.sign_in.clear()
        if self._keeper is not None:
            self._keeper.forget()
        plant(self.seed, self.directory, self.library)
        application = self.confidential
        for token, email in self._ready.items():
            user = self.directory.user(email)
            if application is not None and user is not None:
                self.issuer.refresh_token(user, application.client_id, READY_SCOPES, token=token)

    async def close(self) -> None:
        """Let go of what is on its way."""
        await self.notifier.close()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        else:
            self.library.uploads.expire_all()

    def keep(self, *, with_people: bool) -> None:
        """Save what changed, where a folder was given for it. What was answered must survive a kill."""
        if self._keeper is not None:
            self._keeper.flush(with_people=with_people)

    @property
    def confidential(self) -> Application | None:
        """The first application with a secret."""
        return next((app for app in self.directory.applications.values() if not app.public), None)

    @property
    def public(self) -> Application | None:
        """The first application without one."""
        return next((app for app in self.directory.applications.values() if app.public), None)

    def users(self, first: str) -> list[User]:
        """Return all users, those with a `first` drive (`personal` or `business`) before the others."""
        return sorted(self.directory.users.values(), key=lambda user: user.personal != (first == "personal"))

    def announce(self, first: str) -> Json:
        """Return what a client needs to know about the people here: credentials, and a ready refresh token for each."""
        application, public = self.confidential, self.public
        users = []
        for user in self.users(first):
            ready = application is not None and application.admits(user.tenant)
            token = (
                self.issuer.refresh_token(user, application.client_id, READY_SCOPES) if ready and application else None
            )
            if token is not None:
                self._ready[token] = user.email
            users.append({"email": user.email, "password": user.password, "refresh_token": token})
        return {
            "client_id": application.client_id if application else None,
            "client_secret": application.secrets[0].value if application else None,
            "public_client_id": public.client_id if public else None,
            "users": users,
        }
