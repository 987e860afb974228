"""Everything that can go wrong, in one tree.

    LandbridgeError
    ├─ CallerMistake                    the request cannot be served as it is
    │  ├─ Unauthenticated               we do not know who is calling
    │  ├─ Forbidden                     we know, and they may not
    │  ├─ NotFound                      no such thing, or not yours
    │  │  └─ NotConnected               the user has not connected this integration
    │  ├─ InvalidRequest                malformed, or against a rule that the message names
    │  ├─ Conflict                      the thing is not in a state that allows this
    │  ├─ TooLarge                      over a limit that the message names
    │  └─ InstallFailed                 the user's sign-in at the provider did not end in a connection
    ├─ ConnectionUnusable               the user has to connect again
    ├─ ProviderFailed                   the provider did not do its part
    │  ├─ ProviderBusy                  it asked us to come back later
    │  ├─ ProviderUnreachable           no answer came
    │  ├─ ProviderTimedOut              the answer took too long
    │  ├─ GrantLost                     it no longer honours the user's grant
    │  ├─ AppRejected                   it refuses our own client id or secret
    │  ├─ CodeRejected                  it refuses the code that a sign-in brought back
    │  └─ RequestFailed                 a Request step's service answered with an error of its own
    │     └─ RequestRefused             it holds the request to be wrong, and would again
    ├─ ActionRefused                    the provider understood an action and says no
    │  ├─ ItemNotFound                  no file or folder is there
    │  ├─ NameTaken                     something of that name is there already
    │  ├─ NameNotAllowed                the provider takes no such name or path
    │  ├─ ItemChanged                   it is no longer what it was when it was read
    │  ├─ ItemLocked                    somebody is working on it, or it is being processed
    │  ├─ AccessDenied                  the user, or the consent they gave, does not reach that far
    │  ├─ StorageFull                   the user's storage has no room for it
    │  ├─ DriveMissing                  the user has no drive
    │  ├─ MalwareFound                  the provider holds the file to be malware
    │  ├─ NotOffered                    the provider does not offer this for this kind of account or item
    │  ├─ ResyncRequired                the cursor is too old to go on from
    │  ├─ ContentsDamaged               what was stored is not what was sent
    │  └─ OutcomeUnknown                it was asked for once, and whether it was done cannot be told
    ├─ ReferenceFailed                  a `{{ }}` of a workflow leads to nothing
    ├─ FunctionFailed                   a workflow's function raised an error, or returned what is no JSON
    │  └─ FunctionLimit                 it reached one of its limits
    ├─ StepTimedOut                     a step of a workflow took longer than it may
    ├─ RunFailed                        a workflow that was to answer a request failed before it did
    ├─ FileUnknown                      a file's id is not one of this run's
    ├─ FilesFailed                      the place where file contents are kept cannot be used
    ├─ TokenRenewed                     the access token was stale; the same request will now work
    ├─ OutboundRefused                  the address is one that we never call
    ├─ VaultFailed                      a secret could not be opened or sealed
    ├─ StoreFailed                      the database cannot be used as it is
    ├─ BackupFailed                     a backup could not be written, or not restored
    └─ Misconfigured                    a setting is wrong

Three readers share a class: the API shows `code` and the message, an engine obeys `retryable`, the operator is told
`remedy`. `status` is the HTTP status; 401 and 403 are reserved for the caller's own token, since the browser SDK logs
the user out on either.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar


class LandbridgeError(Exception):
    """Something went wrong, and whoever reads this is told what to do."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    remedy: ClassVar[str] = "Report this, with the request id, to whoever runs Landbridge."

    def __init__(
        self, message: str, *, meta: Mapping[str, Any] | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.meta = dict(meta or {})
        self.retry_after = retry_after
        self.nothing_done = False
        """Whether what was asked for has certainly not been done, so that it can be asked for anew."""

    def body(self) -> dict[str, Any]:
        """Return the error as the API and the browser SDK read it."""
        return {
            "message": self.message,
            "code": self.code,
            "status": self.status,
            "meta": {**self.meta, "remedy": self.remedy, "retryable": self.retryable},
        }


class CallerMistake(LandbridgeError):
    """The request cannot be served as it is."""

    code = "bad_request"
    status = 400
    remedy = "Correct the request as the message says."


class Unauthenticated(CallerMistake):
    """We do not know who is calling."""

    code = "unauthenticated"
    status = 401
    remedy = "Send `Authorization: Bearer <token>`, signed by one of the project's keys and not expired."


class Forbidden(CallerMistake):
    """We know who is calling, and they may not."""

    code = "forbidden"
    status = 403
    remedy = "Use a token or key of the project that is named in the path."


class NotFound(CallerMistake):
    """No such thing, or not yours: the two look the same from outside."""

    code = "not_found"
    status = 404
    remedy = "Check the id and the project."


class NotConnected(NotFound):
    """The user has not connected this integration."""

    code = "not_connected"
    remedy = "Open the portal for this user and let them connect."


class InvalidRequest(CallerMistake):
    """The request is malformed, or against a rule that the message names."""

    code = "invalid_request"


class Conflict(CallerMistake):
    """The thing is not in a state that allows this."""

    code = "conflict"
    status = 409
    remedy = "Read the thing again, then decide."


class TooLarge(CallerMistake):
    """Over a limit that the message names."""

    code = "too_large"
    status = 413
    remedy = "Send less, or in parts."


class InstallFailed(CallerMistake):
    """The user's sign-in at the provider did not end in a connection."""

    code = "install_failed"
    remedy = "Let the user try again; the message says what the provider answered."


class ConnectionUnusable(LandbridgeError):
    """The user has to connect their account again."""

    code = "reconnect_required"
    status = 424
    remedy = "Open the portal for this user and let them reconnect: settings and ids are kept."


class ProviderFailed(LandbridgeError):
    """The provider did not do its part."""

    code = "provider_failed"
    status = 502
    retryable = True
    remedy = "Try again later; if it goes on, look at the provider's status page."

    @classmethod
    def of_code(cls, code: str | None) -> "type[ProviderFailed]":
        """Return the class that has a code which was kept; this one if none has, as after an upgrade."""
        return next((kind for kind in cls.__subclasses__() if kind.code == code), cls)


class ProviderBusy(ProviderFailed):
    """The provider asked us to come back later."""

    code = "provider_busy"
    status = 429
    remedy = "Wait as long as `Retry-After` says, then send the request again."


class ProviderUnreachable(ProviderFailed):
    """No answer came."""

    code = "provider_unreachable"


class ProviderTimedOut(ProviderFailed):
    """The answer took too long."""

    code = "provider_timed_out"
    status = 504


class GrantLost(ProviderFailed):
    """The provider no longer honours the user's grant, so only the user can mend it."""

    code = "grant_lost"
    status = 424
    retryable = False
    remedy = "Let the user reconnect."


class AppRejected(ProviderFailed):
    """The provider refuses our own client id or secret; the users' grants are still good."""

    code = "app_rejected"
    retryable = False
    remedy = "Run `landbridge doctor` and correct the client id or the client secret; no user has to reconnect."


class CodeRejected(ProviderFailed):
    """The provider refuses the code that a sign-in brought back."""

    code = "code_rejected"
    status = 400
    retryable = False
    remedy = "Start the sign-in again: a code can be used once, and for ten minutes."


class RequestFailed(ProviderFailed):
    """A Request step's service answered with an error of its own; `meta` has its status and the start of its body."""

    code = "request_failed"
    remedy = "Look at the service's answer; if it passes by itself, let the step retry."


class RequestRefused(RequestFailed):
    """A Request step's service holds the request to be wrong, and would again."""

    code = "request_refused"
    status = 422
    retryable = False
    remedy = "Correct the step's request as the service's answer says."


class ActionRefused(LandbridgeError):
    """The provider understood what an action asked for, and says no."""

    code = "action_refused"
    status = 422
    remedy = "Correct the action's inputs as the message says."


class ItemNotFound(ActionRefused):
    """No file or folder is there, or none that this user may see."""

    code = "item_not_found"
    status = 404
    remedy = "Check the id or path, and the drive: ids count only on their own drive."


class NameTaken(ActionRefused):
    """Something of that name is there already; upper and lower case count as the same."""

    code = "name_taken"
    status = 409
    remedy = "Choose another name, or let the conflict behaviour be `rename` or `replace`."


class NameNotAllowed(ActionRefused):
    """The provider takes no such name or path."""

    code = "name_not_allowed"
    status = 400
    remedy = "Change the name as the message says."


class ItemChanged(ActionRefused):
    """The item is no longer what it was when it was read."""

    code = "item_changed"
    status = 412
    remedy = "Read the item again, then decide."


class ItemLocked(ActionRefused):
    """Somebody is working on the item, or the provider is still processing it."""

    code = "item_locked"
    status = 423
    retryable = True
    remedy = "Try again later: the lock ends when the file is closed."


class AccessDenied(ActionRefused):
    """The user may not do this, or the consent they gave does not reach that far."""

    code = "access_denied"
    remedy = "Compare the action's scopes with the integration's; after adding one, let the user reconnect."


class StorageFull(ActionRefused):
    """The user's storage has no room for it."""

    code = "storage_full"
    status = 507
    remedy = "Let the user free some storage, or get more; nothing was written."


class DriveMissing(ActionRefused):
    """The user has no drive: no licence, or it was never opened."""

    code = "drive_missing"
    status = 424
    remedy = "Let the user open OneDrive once in a browser; for a work account its administrator assigns the licence."


class MalwareFound(ActionRefused):
    """The provider holds the file to be malware, and gives it to nobody."""

    code = "malware_found"
    remedy = "Delete the file, or let an administrator release it."


class NotOffered(ActionRefused):
    """The provider does not offer this for this kind of account or item."""

    code = "not_offered"
    remedy = "Choose another action: this one works for other kinds of accounts or items only."


class ResyncRequired(ActionRefused):
    """The cursor is too old to go on from."""

    code = "resync_required"
    status = 410
    remedy = "Start again without a cursor."


class ContentsDamaged(ActionRefused):
    """What arrived, at the provider or here, is not what was sent."""

    code = "contents_damaged"
    status = 502
    retryable = True
    remedy = "Save or get the file again; if it goes on, compare it with the original."


class OutcomeUnknown(ActionRefused):
    """This was asked for once, no answer came, and whether it was done cannot be told."""

    code = "outcome_unknown"
    status = 409
    remedy = "Look whether it was done, then run the step again or skip it."


class ReferenceFailed(LandbridgeError):
    """A `{{ }}` of a workflow leads to nothing. `path` is the reference, `field` where in the template it is."""

    code = "reference_failed"
    status = 422
    remedy = "Correct the reference as the message says, or write `?` after what may be missing: it is null then."

    def __init__(self, message: str, *, meta: Mapping[str, Any] | None = None, path: str = "", field: str = "") -> None:
        super().__init__(message, meta={"path": path, "field": field} if path else meta)
        self.path = path
        self.field = field


class FunctionFailed(LandbridgeError):
    """A workflow's function raised an error, or returned what is no JSON."""

    code = "function_failed"
    status = 422
    remedy = "Correct the function's code at the line that the message names, then test the step."


class FunctionLimit(FunctionFailed):
    """A workflow's function reached one of its limits: time, memory, recursion, size or requests."""

    code = "function_limit"
    remedy = "Raise the limit that the message names in the step's `limits`, or let the function do less at once."


class RunFailed(LandbridgeError):
    """A workflow that was to answer a request failed before it did."""

    code = "run_failed"
    remedy = "Look at the run: `meta.error` names the step and what went wrong there."


class StepTimedOut(LandbridgeError):
    """A step of a workflow took longer than it may."""

    code = "step_timed_out"
    status = 504
    retryable = True
    remedy = "Give the step a longer `timeout`, or less to do at once."


class FileUnknown(LandbridgeError):
    """A file's id is not one of this run's, or the file is gone."""

    code = "file_unknown"
    status = 404
    remedy = "Use the file that an earlier step of the same run gave; ids of other runs or from outside open nothing."


class FilesFailed(LandbridgeError):
    """The place where file contents are kept cannot be used as it is."""

    code = "files_failed"
    status = 503
    retryable = True
    remedy = "Check LANDBRIDGE_FILES_URL, and that this process may write there."


class TokenRenewed(LandbridgeError):
    """The access token was stale and the body already on its way; the same request will now work."""

    code = "token_renewed"
    status = 503
    retryable = True
    remedy = "Send the same request again now."


class OutboundRefused(LandbridgeError):
    """The address is one that we never call."""

    code = "outbound_refused"
    status = 400
    remedy = "Private and loopback addresses are called only when LANDBRIDGE_OUTBOUND_ALLOW names them."


class VaultFailed(LandbridgeError):
    """A secret could not be opened or sealed."""

    code = "vault_failed"
    remedy = "Give the process the key ring that sealed the data: LANDBRIDGE_VAULT_KEYS, or the key file."


class StoreFailed(LandbridgeError):
    """The database cannot be used as it is."""

    code = "store_failed"
    status = 503
    retryable = True
    remedy = "Check that the database answers, then run `landbridge migrate`."


class BackupFailed(LandbridgeError):
    """A backup could not be written, or not restored; the database and older backups are as they were."""

    code = "backup_failed"
    remedy = "Mend what the message says, then run it again: the database and older backups are as they were."


class Misconfigured(LandbridgeError):
    """A setting is wrong."""

    code = "misconfigured"
    remedy = "Correct the setting that the message names."
