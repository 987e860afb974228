"""The pages of the sign-in host. One page holds account choice and consent, so that a test needs one click."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from msgraph_sandbox.identity.directory import Application, User

_STYLE = """
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,sans-serif;background:#f2f2f2;color:#1b1b1b;margin:0}
main{max-width:27rem;margin:8vh auto;background:#fff;padding:2rem 2.2rem;box-shadow:0 2px 6px #0003}
@media (max-height:640px),(max-width:540px){main{margin:0 auto;max-width:none;min-height:100vh;padding:1.2rem 1.6rem}}
h1{font-size:1.35rem;margin:.1rem 0 .7rem;font-weight:600}p{margin:.4rem 0}small{color:#595959}
fieldset{border:0;padding:0;margin:0 0 .8rem;min-width:0}legend{padding:0}
.accounts{max-height:11.5rem;overflow:auto;border:1px solid #e1e1e1}
.accounts label{display:flex;gap:.6rem;align-items:center;padding:.42rem .6rem;cursor:pointer}
.accounts label:hover{background:#f5f5f5}.accounts label:has(:checked){background:#eaf3fb}
.accounts label small{display:block;line-height:1.2}
input[type=radio]{accent-color:#0067b8;flex:none;width:1rem;height:1rem;margin:0}
.other{display:none;margin:0 0 .8rem}form:has([value=other]:checked) .other{display:block}
.other label{display:block;margin-bottom:.4rem}
.other input,.code{width:100%;padding:.35rem .5rem;font:inherit;border:1px solid #666}
ul{margin:.2rem 0 .4rem;padding-left:1.2rem}details summary{cursor:pointer}
.buttons{display:flex;gap:.6rem;flex-direction:row-reverse}
.buttons{position:sticky;bottom:0;background:#fff;padding:.8rem 0 .2rem}
button{font:inherit;padding:.45rem 1.6rem;border:1px solid #0067b8;background:#fff;color:#0067b8;cursor:pointer}
#accept{background:#0067b8;color:#fff}:focus-visible{outline:2px solid #1b1b1b;outline-offset:2px}
[role=alert]{color:#a80000;background:#fdf3f4;padding:.4rem .6rem}
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


# Enter in a field presses the first button of a form, so that one comes first; the eye finds it on the right.
_BUTTONS = (
    '<div class="buttons">'
    '<button id="accept" name="answer" value="accept">Accept</button>'
    '<button id="decline" name="answer" value="decline">Decline</button></div>'
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
<fieldset class="accounts"><legend hidden>Account</legend>{accounts}
<label><input type="radio" name="account" value="other"{"" if first else " checked"}> Use another account</label>
</fieldset>
<div class="other"><label>Email <input type="email" name="email" autocomplete="off"></label>
<label>Password <input type="password" name="password" autocomplete="off"></label></div>
{_request(application, wanted)}
{_BUTTONS}</form>""",
    )


def _account(user: User, checked: bool, missing: frozenset[str]) -> str:
    known = "" if missing else " (has accepted)"
    mark = " checked" if checked else ""
    return (
        f'<label><input type="radio" name="account" value="{escape(user.oid)}"{mark}> '
        f"<span>{escape(user.name)}{known}<small>{escape(user.email)}</small></span></label>"
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
<p><label>Code <input class="code" name="code" autocomplete="off" autofocus></label></p>
<fieldset class="accounts"><legend hidden>Account</legend>{accounts}</fieldset>{_BUTTONS}</form>""",
    )


def admin_consent(application: Application, admins: list[User], scopes: list[str]) -> str:
    """Return the page where an administrator consents for a tenant."""
    accounts = "".join(_account(user, number == 0, frozenset({"-"})) for number, user in enumerate(admins))
    return page(
        "Permissions requested",
        f"""<h1>Permissions requested</h1><p>Accept for your organization</p><form method="post">
<fieldset class="accounts"><legend hidden>Account</legend>{accounts}</fieldset>
{_request(application, scopes)}{_BUTTONS}</form>""",
    )


def form_post(uri: str, answer: Mapping[str, str]) -> str:
    """Return the page that posts the answer to the application by itself (`response_mode=form_post`)."""
    fields = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in answer.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Working...</title>'
        f'<body onload="document.forms[0].submit()"><form method="post" action="{escape(uri)}">{fields}'
        "<noscript><button>Continue</button></noscript></form></body></html>"
    )
