"""The authorize endpoint: from an application's question to a code at its redirect URI, by way of a person or a script.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from msgraph_sandbox.http import BadRequest, Request, Response, html_response, parse_form, redirect
from msgraph_sandbox.identity import pages
from msgraph_sandbox.identity.authority import Authority, find_application, find_authority
from msgraph_sandbox.identity.claims import is_capable
from msgraph_sandbox.identity.directory import Application, Directory, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.scopes import ADMIN_ONLY, check_reach, parse_scopes
from msgraph_sandbox.identity.tokens import CodeGrant, Issuer, base64url, half_hash, opaque
from msgraph_sandbox.switches import Switches

SESSION_COOKIE = "ESTSAUTH"
# What a person can settle by signing in again; every other obstacle stops them.
_SETTLED_BY_SIGN_IN = (50072, 50074, 50076, 50078, 50079, 70043)
RESPONSE_TYPES = ("code", "id_token", "code id_token")


@dataclass(frozen=True, slots=True)
class Question:
    """A valid authorize request."""

    authority: Authority
    application: Application
    redirect_uri: str
    response_type: frozenset[str]
    response_mode: str
    scopes: frozenset[str]
    # The scopes as the application wrote them.
    asked: str
    state: str | None
    prompt: str
    hint: str
    nonce: str | None
    challenge: str | None
    challenge_method: str
    client_info: bool
    capable: bool
    query: str


@dataclass(slots=True)
class Authorize:
    """Answers the authorize endpoint and the form of its page."""

    directory: Directory
    issuer: Issuer
    switches: Switches
    sessions: dict[str, list[User]]

    async def ask(self, request: Request, tenant: str) -> Response:
        """Return the page, or the redirect at once if nobody needs to be asked."""
        given = request.query if request.method == "GET" else parse_form(await request.body())
        query = request.query_string if request.method == "GET" else urlencode(given)
        try:
            target = self._target(given, tenant)
        except SignInRefused as refused:
            return refused.page(request)
        try:
            question = self._question(given, query, *target)
            return self._answer(request, question, given.get("sandbox_consent", ""))
        except SignInRefused as refused:
            return self._send_back(request, given, target[2], refused)

    async def submit(self, request: Request, tenant: str) -> Response:
        """Return the redirect that follows the choice on the page, or the page again after a wrong password."""
        form = parse_form(await request.body())
        query = form.get("request", "")
        given = parse_form(query.encode("latin-1", "replace"))
        try:
            target = self._target(given, tenant)
        except SignInRefused as refused:
            return refused.page(request)
        try:
            question = self._question(given, query, *target)
            if form.get("answer") != "accept":
                raise SignInRefused(65004)
            return self._signed_in(request, question, form)
        except SignInRefused as refused:
            return self._send_back(request, given, target[2], refused)

    def decide(self, request: Request, url: str, accept: bool, who: str | None) -> str:
        """Return where the browser would go if a person answered the authorize request at `url`; for scripts."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise BadRequest("The authorize URL is malformed.") from None
        given = parse_form(parts.query.encode("latin-1", "replace"))
        target = self._target(given, parts.path.strip("/").partition("/")[0])
        try:
            question = self._question(given, parts.query, *target)
            if not accept:
                raise SignInRefused(65004)
            response = self._grant(request, question, self._pick(question, who or question.hint))
        except SignInRefused as refused:
            response = self._send_back(request, given, target[2], refused)
        return response.headers.get("Location", "")

    def _target(self, given: Mapping[str, str], tenant: str) -> tuple[Authority, Application, str]:
        # Until these three are known to be good, errors are shown and not sent: the redirect URI cannot be trusted.
        authority = find_authority(self.directory, tenant)
        for name in ("client_id", "redirect_uri"):
            if not given.get(name):
                raise SignInRefused(900144, field=name)
        application = find_application(self.directory, authority, given["client_id"])
        uri = given["redirect_uri"]
        if not application.redirects_to(uri, self.switches.redirect_uris == "loopback"):
            raise SignInRefused(50011, redirect_uri=uri, client_id=application.client_id)
        return authority, application, uri

    def _question(
        self, given: Mapping[str, str], query: str, authority: Authority, application: Application, redirect_uri: str
    ) -> Question:
        kinds = frozenset(_required(given, "response_type").split())
        if " ".join(sorted(kinds)) not in RESPONSE_TYPES:
            raise SignInRefused(90023, error="unsupported_response_type", detail="Unsupported 'response_type' value.")
        scopes = parse_scopes(_required(given, "scope"), application)
        mode = _response_mode(given, kinds)
        if "id_token" in kinds:
            _check_id_token(given, application, scopes)
        method = given.get("code_challenge_method", "plain")
        if method not in ("plain", "S256"):
            raise SignInRefused(90023, detail=f"The code_challenge_method '{method}' is not supported.")
        return Question(
            authority=authority,
            application=application,
            redirect_uri=redirect_uri,
            response_type=kinds,
            response_mode=mode,
            scopes=scopes,
            asked=given["scope"],
            state=given.get("state"),
            prompt=given.get("prompt", ""),
            hint=given.get("login_hint", ""),
            nonce=given.get("nonce"),
            challenge=given.get("code_challenge"),
            challenge_method=method,
            client_info=given.get("client_info") == "1",
            capable=is_capable(given),
            query=query,
        )

    def _answer(self, request: Request, question: Question, consent: str) -> Response:
        if consent == "deny":
            raise SignInRefused(65004)
        if consent == "auto" or self.switches.auto_consent:
            return self._grant(request, question, self._pick(question, question.hint))
        signed_in = self._session_users(request, question)
        if question.prompt == "none":
            return self._grant(request, question, self._silent(question, signed_in))
        quiet = question.prompt == "" and len(signed_in) == 1
        if quiet and self._missing(question, signed_in[0]) == frozenset():
            return self._grant(request, question, signed_in[0])
        return self._page(request, question)

    def _page(self, request: Request, question: Question, problem: str = "") -> Response:
        users = question.authority.users(self.directory, question.application)
        action = f"/{question.authority.home}/login"
        missing = {user.oid: self._missing(question, user) for user in users}
        chosen = self.directory.user(question.hint) if question.hint else None
        return html_response(
            pages.sign_in(
                question.application,
                users,
                chosen=chosen,
                missing=missing,
                action=action,
                query=question.query,
                problem=problem,
            )
        )

    def _session_users(self, request: Request, question: Question) -> list[User]:
        users = self.sessions.get(request.cookies.get(SESSION_COOKIE, ""), [])
        fitting = question.authority.users(self.directory, question.application)
        hint = question.hint.lower()
        return [user for user in users if user in fitting and hint in ("", user.email.lower())]

    def _silent(self, question: Question, signed_in: list[User]) -> User:
        if not signed_in:
            raise SignInRefused(50058)
        if len(signed_in) > 1:
            raise SignInRefused(16000, user=signed_in[0].email)
        if self._missing(question, signed_in[0]):
            app = question.application
            raise SignInRefused(65001, error="interaction_required", client_id=app.client_id, name=app.name)
        return signed_in[0]

    def _missing(self, question: Question, user: User) -> frozenset[str]:
        if question.prompt == "consent":
            return question.scopes
        return question.scopes - self.directory.consented(question.application.client_id, user)

    def _pick(self, question: Question, who: str) -> User:
        users = question.authority.users(self.directory, question.application)
        user = self.directory.user(who) if who else next(iter(users), None)
        if user is None or user not in users:
            raise self._stranger(question, user.email if user else who)
        return user

    def _stranger(self, question: Question, email: str) -> SignInRefused:
        facts = {"user": email, "tenant": question.authority.home, "client_id": question.application.client_id}
        return SignInRefused(50020, error="access_denied", **facts)

    def _signed_in(self, request: Request, question: Question, form: Mapping[str, str]) -> Response:
        account = form.get("account", "")
        if account and account != "other":
            return self._grant(request, question, self._pick(question, account))
        user = self.directory.user(form.get("email", ""))
        if user is None or user.password != form.get("password", ""):
            return self._page(request, question, SignInRefused(50126).sentence())
        return self._grant(request, question, self._pick(question, user.oid))

    def _grant(self, request: Request, question: Question, user: User) -> Response:
        self._check_obstacle(question, user)
        check_reach(user, question.scopes)
        app = question.application
        missing = self._missing(question, user)
        needs_admin = not ADMIN_ONLY.isdisjoint(missing)
        needs_admin |= bool(missing) and not user.tenant.user_consent
        if needs_admin and not user.admin and not user.personal:
            raise SignInRefused(90094, name=app.name)
        self.directory.consent(app.client_id, user.oid, set(question.scopes))
        answer = self._tokens(request, question, user)
        return deliver(question.redirect_uri, question.response_mode, answer, self._open_session(request, user))

    def _check_obstacle(self, question: Question, user: User) -> None:
        facts = {"user": user.email, "name": question.application.name, "client_id": question.application.client_id}
        if user.disabled:
            raise SignInRefused(50057, error="access_denied")
        if user.obstacle in _SETTLED_BY_SIGN_IN and question.prompt != "none":
            user.obstacle = None
        if user.obstacle is not None:
            raise SignInRefused(user.obstacle, **facts)

    def _tokens(self, request: Request, question: Question, user: User) -> dict[str, str]:
        answer: dict[str, str] = {}
        client_id = question.application.client_id
        if "code" in question.response_type:
            grant = CodeGrant(
                user=user,
                client_id=client_id,
                redirect_uri=question.redirect_uri,
                authority=question.authority.home,
                scopes=question.scopes,
                asked=question.asked,
                challenge=question.challenge,
                challenge_method=question.challenge_method,
                nonce=question.nonce,
                expires=self.issuer.clock.now() + timedelta(seconds=self.switches.code_seconds),
                capable=question.capable,
            )
            answer["code"] = self.issuer.code(grant)
        if "id_token" in question.response_type:
            scopes, nonce = question.scopes, question.nonce
            bound = {"c_hash": half_hash(answer["code"])} if "code" in answer else {}
            answer["id_token"] = self.issuer.id_token(
                user, question.application, scopes, nonce, request.origin, **bound
            )
        if question.client_info:
            answer["client_info"] = client_info(user)
        if question.state is not None:
            answer["state"] = question.state
        return answer | {"session_state": opaque("", 36)}

    def _open_session(self, request: Request, user: User) -> dict[str, str]:
        name = request.cookies.get(SESSION_COOKIE, "")
        if name not in self.sessions:
            name = opaque("0.", 60)
        users = self.sessions.setdefault(name, [])
        if user not in users:
            users.append(user)
        return {"Set-Cookie": f"{SESSION_COOKIE}={name}; Path=/; HttpOnly; SameSite=Lax"}

    def _send_back(self, request: Request, given: Mapping[str, str], uri: str, refused: SignInRefused) -> Response:
        answer = {"error": refused.error, "error_description": refused.describe(request)}
        if refused.code == 65004:
            answer["error_subcode"] = "cancel"
        if "state" in given:
            answer["state"] = given["state"]
        mode = given.get("response_mode", "")
        if mode not in ("query", "fragment", "form_post"):
            mode = "fragment" if "id_token" in given.get("response_type", "").split() else "query"
        return deliver(uri, mode, answer, {})


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name, "").strip():
        raise SignInRefused(900144, field=name)
    return given[name]


def _response_mode(given: Mapping[str, str], kinds: frozenset[str]) -> str:
    mode = given.get("response_mode") or ("fragment" if "id_token" in kinds else "query")
    if mode not in ("query", "fragment", "form_post"):
        raise SignInRefused(90023, detail=f"The response_mode '{mode}' is not supported.")
    if mode == "query" and "id_token" in kinds:
        raise SignInRefused(90023, detail="'query' is not a supported response_mode for a response that holds a token.")
    return mode


def _check_id_token(given: Mapping[str, str], application: Application, scopes: frozenset[str]) -> None:
    if not application.id_tokens:
        raise SignInRefused(700054)
    if "openid" not in scopes:
        raise SignInRefused(70011, scope=given["scope"])
    if not given.get("nonce"):
        raise SignInRefused(900144, field="nonce")


def deliver(uri: str, mode: str, answer: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    """Return what takes a browser to an application's address with `answer`: in its query, its fragment or a form."""
    if mode == "form_post":
        return html_response(pages.form_post(uri, answer), headers=headers)
    parts = urlsplit(uri)
    if not parts.path:
        # A redirect URI without a path comes back with a slash (reply-url.md).
        parts = parts._replace(path="/")
    if mode == "fragment":
        return redirect(parts._replace(fragment=urlencode(answer)).geturl(), headers)
    query = "&".join(filter(None, (parts.query, urlencode(answer))))
    return redirect(parts._replace(query=query).geturl(), headers)


def client_info(user: User) -> str:
    """Return what MSAL asks for with `client_info=1`: the account's home, in base64url JSON."""
    return base64url(f'{{"uid":"{user.oid}","utid":"{user.tenant.id}"}}'.encode())
