"""A token for Microsoft's file picker, which runs in the browser and there opens the user's own drive.

It is the one token that leaves the server, so the operator has to switch this on for each integration. The picker does
not take Graph's tokens but only those for the host of the user's drive:
https://learn.microsoft.com/onedrive/developer/controls/file-pickers
"""

from dataclasses import dataclass, field

import structlog

from landbridge.access import Caller
from landbridge.connections.tokens import Tokens
from landbridge.errors import Conflict, GrantLost
from landbridge.projects import Projects
from landbridge.providers.microsoft import Microsoft

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """What opens the picker: a token for it, and the origin of the drive; None is where all personal accounts are."""

    access_token: str = field(repr=False)
    drive_origin: str | None


class Picker:
    """Lets users pick files from their drives."""

    def __init__(self, projects: Projects, tokens: Tokens, microsoft: Microsoft) -> None:
        self._projects = projects
        self._tokens = tokens
        self._microsoft = microsoft

    async def admit(self, caller: Caller, integration: str, selector: str | None) -> Pass:
        """Return what opens the picker on the user's own connection, good for about an hour.

        Raises `Conflict` if the operator has not switched this on, or Microsoft gives this app no such token.
        """
        active = await self._projects.active(caller.project_id, integration)
        if not active.settings.file_picker:
            raise Conflict(
                "The file picker is not switched on in this project, since it gives tokens to the browser. "
                f"Switch it on with `landbridge integrations set {integration} --file-picker`."
            )
        opened = await self._tokens.open(caller, integration, selector)
        origin = await self._microsoft.drive_origin(opened.access_token)
        try:
            lent = await self._tokens.lend(opened, [f"{origin}/.default" if origin else "OneDrive.ReadOnly"])
        except GrantLost as error:
            raise Conflict(
                "Microsoft gives this app no token for the file picker. Its registration needs SharePoint's delegated "
                "permissions AllSites.Read and MyFiles.Read, and the users' or their administrator's consent.",
                meta=error.meta,
            ) from error
        log.info(
            "a token for the file picker was given to a page",
            project=caller.project_id,
            connection=opened.connection_id,
        )
        return Pass(lent.access_token, origin)
