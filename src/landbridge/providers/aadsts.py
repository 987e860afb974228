"""Microsoft's AADSTS codes in plain words: what each one means, who can mend it, and how.

The codes come in the field `error_codes` of an error answer. They are shown to people, never branched on: Microsoft may
change them at any time (https://learn.microsoft.com/entra/identity-platform/reference-error-codes), and what a program
may rely on is `error` and `suberror`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Who(StrEnum):
    """Who can mend it. The remedies speak to the operator, who passes on what is another's to do."""

    OPERATOR = "operator"
    ADMIN = "administrator"
    USER = "user"
    TIME = "time"
    DEVELOPERS = "developers"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One code: its cause, who can mend it, and the remedy, which begins with what to do."""

    cause: str
    who: Who
    remedy: str


def _operator(cause: str, remedy: str) -> Explanation:
    return Explanation(cause, Who.OPERATOR, remedy)


def _admin(cause: str, to: str) -> Explanation:
    return Explanation(cause, Who.ADMIN, f"Ask an administrator of the user's organization to {to}")


def _user(cause: str, to: str) -> Explanation:
    return Explanation(cause, Who.USER, f"Let the user {to}")


def _time(cause: str) -> Explanation:
    return Explanation(cause, Who.TIME, _WAIT)


def _developers(cause: str, first: str = "") -> Explanation:
    return Explanation(cause, Who.DEVELOPERS, f"{_REPORT} {first}".strip())


_WAIT = "Wait: background work tries again by itself. In the middle of a sign-in, let the user start it again."
_REPORT = "Report this to Landbridge's developers with the correlation id: Landbridge sent something it never should."
_CONNECT_AGAIN = "connect again in the portal; the connection's id and settings are kept."
_START_AGAIN = "start the sign-in again from your application."
_CONSENT_FOR_ALL = "consent for everyone, by the link in `docs/how-to/azure.md`, step 6; then let the user connect."
_ACCOUNT_TYPES = (
    "Set the account audience here to what the app's Supported account types in Azure allow, or change those "
    "(Authentication, or `signInAudience` in the manifest). "
)

EXPLANATIONS: Mapping[int, Explanation] = {
    # The app registration: what the operator entered here does not match what is in Azure.
    50011: _operator(
        "The redirect URL is not registered for this app, so Microsoft shows its own page and sends nobody back.",
        "Add the redirect URL, letter by letter as `landbridge integrations show` prints it, in the app's page in "
        "Azure under Authentication, platform Web. Scheme, host, path and case all count.",
    ),
    700016: _operator(
        "There is no app with this client id in the directory that was asked.",
        "Copy Application (client) ID from the app's Overview in Azure, not the object id or the secret's id. If the "
        "id is right, the audience names a tenant where nobody has consented yet: let an administrator there consent.",
    ),
    700011: _operator(
        "The app is not known in the organization that was asked.",
        "Copy Application (client) ID from the app's Overview in Azure, and check that the audience is the tenant in "
        "which the app is registered or has been consented to.",
    ),
    50194: _operator(
        "The app is registered for one organization only, but the sign-in page for all organizations was used.",
        "Set the audience here to the app's Directory (tenant) ID; or, to serve other organizations too, change "
        "Supported account types in Azure to accounts in any organizational directory.",
    ),
    7000215: _operator(
        "The client secret is wrong.",
        "Copy the secret's Value (not its ID) from Certificates & secrets; it is shown only when it is created, so "
        "create a new one if it is gone. Users need not reconnect.",
    ),
    7000222: _operator(
        "The client secret has expired.",
        "Create a new client secret in Azure and set it here; users need not reconnect.",
    ),
    7000218: _operator(
        "Microsoft expects a client secret and got none.",
        "Set the client secret of this integration. If it is set, check that the redirect URL is registered under the "
        "platform Web, not under Single-page application or Mobile and desktop.",
    ),
    700025: _operator(
        "The app is registered as a public client, which must not send a secret.",
        "Register the redirect URL under the platform Web instead of Mobile and desktop, and switch Allow public "
        "client flows off under Authentication.",
    ),
    700027: _operator(
        "The signature of the client's certificate is not one that the app knows.",
        "Use a client secret: Landbridge signs in with one. If something in between signs for it, upload that "
        "certificate under Certificates & secrets.",
    ),
    7000112: _admin(
        "The app is switched off in this organization.",
        "switch Enabled for users to sign-in back on for the app, under Enterprise applications.",
    ),
    90002: _operator(
        "There is no tenant with the id or domain that the audience names, or it has no active subscription.",
        "Copy Directory (tenant) ID from the app's Overview in Azure into the audience, and check that "
        "LANDBRIDGE_MICROSOFT_LOGIN_URL is the cloud that the tenant lives in.",
    ),
    9002325: _operator(
        "The redirect URL is registered for a single-page application, which has to prove the code by PKCE.",
        "Register the redirect URL under the platform Web and remove it from Single-page application.",
    ),
    9002327: _operator(
        "The redirect URL is registered for a single-page application, whose codes only a browser may redeem.",
        "Register the redirect URL under the platform Web and remove it from Single-page application.",
    ),
    9002331: _operator(
        "The app is for personal accounts only, but another sign-in page than theirs was used.",
        _ACCOUNT_TYPES + "For personal accounts only, the audience is `consumers`.",
    ),
    9002332: _operator(
        "The app is for accounts of organizations only, but the sign-in page for personal accounts was used.",
        _ACCOUNT_TYPES + "For organizations only, the audience is `organizations` or one tenant.",
    ),
    90124: _operator(
        "What was asked for does not exist for personal accounts, which the sign-in page admits.",
        _ACCOUNT_TYPES + "For organizations only, the audience is `organizations` or one tenant.",
    ),
    90130: _operator(
        "The app is not available to personal accounts, which the sign-in page admits.",
        _ACCOUNT_TYPES + "For organizations only, the audience is `organizations` or one tenant.",
    ),
    700054: _operator(
        "An id token was asked for directly, which the app does not allow.",
        "Enable ID tokens under Authentication in the app's page in Azure. Landbridge itself asks for a code, which "
        "needs no such switch, so look for what altered the address.",
    ),
    9001023: _operator(
        "This way of asking for a token names no tenant, and needs one.",
        "Give the app's own tenant: `landbridge doctor --tenant` with the Directory (tenant) ID of its Overview.",
    ),
    65005: _operator(
        "A permission was asked for that the app's registration does not list or that does not exist any more.",
        "Add the scopes chosen here as delegated Microsoft Graph permissions under API permissions in Azure.",
    ),
    650056: _operator(
        "The app's registration lists no permission for what was asked, or nobody in the organization granted it.",
        "Add the scopes chosen here as delegated Microsoft Graph permissions under API permissions in Azure. If they "
        "are there, ask an administrator of the user's organization to consent for everyone.",
    ),
    650057: _operator(
        "A service was asked for that the app's registration does not list.",
        "Add the scopes chosen here as delegated Microsoft Graph permissions under API permissions in Azure.",
    ),
    500011: _operator(
        "The service that a token was asked for is not known in this organization.",
        "Check that LANDBRIDGE_MICROSOFT_GRAPH_URL and LANDBRIDGE_MICROSOFT_LOGIN_URL belong to the same cloud, and "
        "that the audience is the right tenant.",
    ),
    70011: _operator(
        "A scope is not one that Microsoft knows.",
        "Choose the scopes from the list that `landbridge integrations list` prints; if they are, report it to "
        "Landbridge's developers.",
    ),
    # What an organization's administrators decided.
    650052: _admin(
        "The organization has no subscription to a service that the app needs, or has it switched off.",
        "switch the service on (for OneDrive of an organization, a licence that includes SharePoint Online).",
    ),
    90094: _admin("The organization lets only administrators consent to these permissions.", _CONSENT_FOR_ALL),
    90095: _admin(
        "The organization lets only administrators consent, and the user has sent them a request to.",
        "approve the request (Enterprise applications > Admin consent requests). Then let the user connect again.",
    ),
    50105: _admin(
        "The organization admits only assigned users to this app, and this user is not assigned.",
        "assign the user under Enterprise applications > Users and groups, or to switch Assignment required off.",
    ),
    53000: _admin(
        "The organization admits only devices that meet its policy, and this one does not.",
        "say what the device lacks, or to exclude the app from the policy; connecting again before that does not help.",
    ),
    53001: _admin(
        "The organization admits only devices that are joined to it, and this one is not.",
        "join the device, or to exclude the app from the policy; connecting again before that does not help.",
    ),
    53002: _admin(
        "The organization admits only apps that it has approved, and this one is not approved.",
        "exclude this app from that policy; connecting again before that does not help.",
    ),
    53003: _admin(
        "A Conditional Access policy of the organization blocks this sign-in.",
        "find the policy in the sign-in log, by the correlation id, and to admit the app or the user; connecting again "
        "before that does not help.",
    ),
    530032: _admin(
        "A security policy of the organization blocks this sign-in.",
        "find the policy in the sign-in log, by the correlation id, and to admit the app.",
    ),
    530035: _admin(
        "The organization's security defaults block this sign-in.",
        "find the sign-in in the log, by the correlation id, and to have the user set up multi-factor authentication.",
    ),
    500212: _admin(
        "The user's own organization does not let its users sign in to apps in the tenant that was asked.",
        "allow it in the outbound cross-tenant access settings; or let the user choose another account.",
    ),
    500213: _admin(
        "The tenant that was asked does not admit users of the user's organization.",
        "arrange with the other tenant that its inbound cross-tenant access settings admit them; or let the user "
        "choose another account.",
    ),
    50053: _admin(
        "The account is locked after too many wrong passwords, or the sign-in came from a blocked address.",
        "unlock the account, or let the user wait and then connect.",
    ),
    50057: _admin("The user's account is disabled.", "enable the account, if it should be; then let the user connect."),
    # What the user has to do.
    50020: _user(
        "The user signed in with an account of another organization or kind than this sign-in page admits.",
        "choose another account; or widen the app's Supported account types and the audience here; or have the tenant "
        "invite the account as a guest.",
    ),
    500208: _user(
        "The user's e-mail domain is not one that this kind of account signs in with.",
        "choose another account: a work account where organizations are meant, a personal one where those are.",
    ),
    50034: _user(
        "There is no such account in the directory that was asked.",
        "check the address and choose another account; guests have to be invited into the tenant first.",
    ),
    50055: _user("The user's password has expired.", f"set a new password at Microsoft, then {_CONNECT_AGAIN}"),
    50056: _user(
        "The account has no password in this directory, or an unusable one.",
        f"set a password at Microsoft or sign in by another way, then {_CONNECT_AGAIN}",
    ),
    50126: _user("The user name or the password is wrong.", f"sign in with the right password and {_CONNECT_AGAIN}"),
    50058: _user("Nobody is signed in, and Microsoft was asked not to show a page.", "sign in on Microsoft's page."),
    16000: _user("Several accounts are signed in, and one has to be chosen.", "choose one on Microsoft's page."),
    16001: _user(
        "The account that the user chose on Microsoft's page is not signed in any more.",
        f"choose the account again, or {_START_AGAIN}",
    ),
    65001: _user(
        "Neither the user nor an administrator has consented to what the app asks for, or the consent was withdrawn.",
        "connect again in the portal and consent; the connection's id and settings are kept.",
    ),
    65004: _user("The user declined on the consent page.", "connect again and accept, once it is clear what for."),
    50072: _user("The user has to set up multi-factor authentication first.", f"set it up and {_CONNECT_AGAIN}"),
    50074: _user("Multi-factor authentication was asked for and not passed.", f"pass it and {_CONNECT_AGAIN}"),
    50076: _user(
        "The organization now asks for multi-factor authentication, or the user is in a new place.",
        _CONNECT_AGAIN,
    ),
    50078: _user("The user's multi-factor authentication is too old for the organization's policy.", _CONNECT_AGAIN),
    50079: _user(
        "The organization now asks for multi-factor authentication, and the user has not set it up.",
        f"set it up and {_CONNECT_AGAIN}",
    ),
    50173: _user("The grant was revoked: the password was changed or reset, or sessions were ended.", _CONNECT_AGAIN),
    70043: _user("The organization asks its users to sign in more often than this.", _CONNECT_AGAIN),
    700082: _user("The connection was not used for 90 days, and Microsoft ended it.", _CONNECT_AGAIN),
    700084: _user(
        "The grant was made for a single-page application, where it ends after a day.",
        "connect again, once you have registered the redirect URL under the platform Web instead.",
    ),
    70000: _user("The code or the grant is not valid, or not any more.", _CONNECT_AGAIN),
    70008: _user("The code or the grant has expired, or was revoked.", _CONNECT_AGAIN),
    50089: _user("The user took too long on Microsoft's page.", _START_AGAIN),
    54005: _user(
        "The code was redeemed before, as when a page is loaded twice.",
        f"{_START_AGAIN[:-1]}, unless the connection is there already.",
    ),
    501481: _user(
        "The code belongs to another sign-in than the one that redeemed it, as when two were mixed up.", _START_AGAIN
    ),
    700005: _user("The code was issued for another tenant than the one that redeemed it.", _START_AGAIN),
    # Microsoft's own troubles.
    50033: _time("Microsoft's directory had a passing failure."),
    50087: _time("Microsoft's multi-factor authentication had a passing failure."),
    90006: _time("A system that Microsoft depends on had a passing failure."),
    90012: _time("The request took Microsoft too long."),
    90024: _time("Microsoft was too busy to finish the request."),
    90033: _time("Microsoft's directory is out of service for the moment."),
    90055: _time("The organization sends Microsoft more requests than it accepts."),
    90090: _time("Microsoft's directory had a passing failure."),
    40010: _time("Microsoft had a passing failure."),
    70012: _time("Microsoft's sign-in for personal accounts had a passing failure."),
    # What Landbridge should never send.
    50196: _developers("The same request was repeated so often that Microsoft took it for a loop.", "Stop it first."),
    90014: _developers("A required field is missing from the request."),
    900144: _developers("A required parameter is missing from the request."),
    9002313: _developers(
        "The request is malformed, as when a code or token was cut short or encoded twice.",
        "A user who meets it can connect again.",
    ),
    900561: _developers("The token endpoint was asked by GET and takes only POST."),
    700022: _developers("One token was asked for scopes of several services."),
    700023: _developers("A token was asked for scopes that belong to no service."),
    28002: _developers("A token was asked for a scope that is not valid."),
    28003: _developers("A token was asked for without a scope."),
    901002: _developers("The parameter `resource` was sent, which this endpoint does not take."),
}


def explain(codes: object) -> Explanation | None:
    """Return the explanation of the first known code in an answer's `error_codes`."""
    known = (EXPLANATIONS.get(code) for code in codes if isinstance(code, int)) if isinstance(codes, list) else ()
    return next((explanation for explanation in known if explanation), None)
