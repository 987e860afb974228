"""The pages of the sign-in host. One page holds account choice and consent, so that a test needs one click."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from msgraph_sandbox.identity.directory import Application, User

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;background:#f2f2f2;color:#1b1b1b;margin:0}
main{max-width:27rem;margin:8vh auto;background:#fff;padding:2.5rem;box-shadow:0 2px 6px #0003}
h1{font-size:1.4rem;margin:.2rem 0 1rem}fieldset{border:0;padding:0;margin:0 0 1rem}
label{display:block;padding:.4rem}small{color:#555}ul{padding-left:1.2rem}
input[type=email],input[type=password]{width:100%;box-sizing:border-box;padding:.4rem;font:inherit}
button{font:inherit;padding:.5rem 1.6rem;border:1px solid #0067b8;background:#fff;color:#0067b8;margin-right:.5rem}
#accept{background:#0067b8;color:#fff}[role=alert]{color:#b10e1c}
"""
_MEANING = {
    "offline_access": "Maintain access to data you have given it access to",
    "openid": "Sign you in",
    "profile": "View your basic profile",
    "email": "View your email address",
    "User.Read": "Sign you in and read your profile",
    "Files.Read": "Read your files",
    "Files.ReadWrite": "Have full access to your files",
    "Files.Read.All": "Read all files that you have access to",
    "Files.ReadWrite.All": "Have full access to all files you have access to",
    "Files.ReadWrite.AppFolder": "Have full access to its folder in your OneDrive",
    "Sites.Read.All": "Read items in all site collections",
    "Sites.ReadWrite.All": "Edit or delete items in all site collections",
}


_BUTTONS = (
    '<button id="accept" name="answer" value="accept">Accept</button>'
    '<button id="decline" name="answer" value="decline">Decline</button>'
)


def page(title: str, body: str) -> str:
    """Return a whole page with `body` (which is HTML) in the middle."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main>{body}</main></html>"
    )


def sign_in(
    application: Application,
    users: list[User],
    *,
    chosen: User | None,
    missing: Mapping[str, frozenset[str]],
    action: str,
    query: str,
    problem: str,
) -> str:
    """Return the page that asks who you are and whether the application may have what it wants."""
    first = chosen if chosen in users else next(iter(users), None)
    accounts = "".join(_account(user, user is first, missing[user.oid]) for user in users)
    wanted = sorted(set().union(*missing.values()))
    alert = f'<p role="alert" id="error">{escape(problem)}</p>' if problem else ""
    return page(
        "Sign in to your account",
        f"""<small>Microsoft (sandbox)</small><h1>Pick an account</h1>{alert}
<form method="post" action="{escape(action)}"><input type="hidden" name="request" value="{escape(query)}">
<fieldset>{accounts}
<label><input type="radio" name="account" value="other"{"" if first else " checked"}> Use another account</label>
<label>Email <input type="email" name="email" autocomplete="off"></label>
<label>Password <input type="password" name="password" autocomplete="off"></label></fieldset>
{_request(application, wanted)}
{_BUTTONS}</form>""",
    )


def _account(user: User, checked: bool, missing: frozenset[str]) -> str:
    known = "" if missing else " <small>(has accepted)</small>"
    mark = " checked" if checked else ""
    return (
        f'<label><input type="radio" name="account" value="{escape(user.oid)}"{mark}> '
        f"{escape(user.name)} <small>{escape(user.email)}</small>{known}</label>"
    )


def _request(application: Application, wanted: list[str]) -> str:
    if not wanted:
        return f"<p><strong>{escape(application.name)}</strong> has your permission.</p>"
    rows = "".join(f"<li>{escape(_MEANING.get(scope, scope))}</li>" for scope in wanted)
    return f"<p><strong>{escape(application.name)}</strong> would like to:</p><ul>{rows}</ul>"


def device(users: list[User], problem: str) -> str:
    """Return the page where a person types the code that a device shows."""
    alert = f'<p role="alert" id="error">{escape(problem)}</p>' if problem else ""
    accounts = "".join(_account(user, number == 0, frozenset({"-"})) for number, user in enumerate(users))
    return page(
        "Enter code",
        f"""<h1>Enter code</h1>{alert}<form method="post">
<label>Code <input name="code" autocomplete="off" autofocus></label>
<fieldset>{accounts}</fieldset>{_BUTTONS}</form>""",
    )


def admin_consent(application: Application, admins: list[User], scopes: list[str]) -> str:
    """Return the page where an administrator consents for a tenant."""
    accounts = "".join(_account(user, number == 0, frozenset({"-"})) for number, user in enumerate(admins))
    return page(
        "Permissions requested",
        f"""<h1>Permissions requested</h1><p>Accept for your organization</p><form method="post">
<fieldset>{accounts}</fieldset>{_request(application, scopes)}{_BUTTONS}</form>""",
    )


def form_post(uri: str, answer: Mapping[str, str]) -> str:
    """Return the page that posts the answer to the application by itself (`response_mode=form_post`)."""
    fields = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in answer.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Working...</title>'
        f'<body onload="document.forms[0].submit()"><form method="post" action="{escape(uri)}">{fields}'
        "<noscript><button>Continue</button></noscript></form></body></html>"
    )
