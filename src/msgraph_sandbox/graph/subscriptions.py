"""Subscriptions over Graph. https://learn.microsoft.com/graph/api/subscription-post-subscriptions"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request
from msgraph_sandbox.graph.access import check_files, is_guest
from msgraph_sandbox.graph.address import DriveRef, parse_address
from msgraph_sandbox.graph.visit import parse_time, prefers, text_of
from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.tokens import AccessGrant
from msgraph_sandbox.notifier import Notifier, Subscription
from msgraph_sandbox.switches import Switches

LONGEST = timedelta(minutes=43_200)
SHORTEST = timedelta(minutes=45)
_PATH = re.compile(r"/subscriptions(?:/(?P<id>[^/]+)(?P<reauthorize>/(?:microsoft\.graph\.)?reauthorize(?:\(\))?)?)?/?")

FindDrive = Callable[[DriveRef, AccessGrant], Drive]
Answer = Callable[[AccessGrant], Awaitable[Response]]


@dataclass(slots=True)
class Subscriptions:
    """Answers below `/subscriptions`."""

    notifier: Notifier
    switches: Switches
    find_drive: FindDrive

    def find(self, request: Request, path: str) -> tuple[str, Answer] | None:
        """Return the name of the operation and what answers it, or None if the path is about something else."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        name, key = match["id"], (request.method, bool(match["id"]), bool(match["reauthorize"]))
        table: dict[tuple[str, bool, bool], tuple[str, Answer]] = {
            ("POST", False, False): ("subscriptions.create", lambda grant: self._create(request, grant)),
            ("GET", False, False): ("subscriptions.list", self._list),
            ("GET", True, False): ("subscriptions.get", lambda grant: self._get(grant, name)),
            ("PATCH", True, False): ("subscriptions.update", lambda grant: self._update(request, grant, name)),
            ("POST", True, True): ("subscriptions.reauthorize", lambda grant: self._reauthorize(grant, name)),
            ("DELETE", True, False): ("subscriptions.delete", lambda grant: self._delete(grant, name)),
        }
        return table.get(key)

    async def _create(self, request: Request, grant: AccessGrant) -> Response:
        body = await request.json_object()
        check_files(grant, "read", in_app_folder=False)
        if text_of(body, "changeType") != "updated":
            raise bad_request("Only the changeType 'updated' is supported for this resource.")
        if body.get("includeResourceData"):
            raise bad_request("File Services workload is not enabled for rich notifications.")
        resource = _required(body, "resource")
        drive = self._drive(resource, grant)
        made = Subscription(
            resource=resource,
            drive_id=drive.id,
            url=self._url(_required(body, "notificationUrl")),
            lifecycle_url=self._url(lifecycle) if (lifecycle := text_of(body, "lifecycleNotificationUrl")) else None,
            state=_client_state(body),
            expires=self._expiry(body),
            tls=text_of(body, "latestSupportedTlsVersion") or "v1_2",
            tenant_id=grant.tenant_id,
            creator_id=_creator(grant),
            application_id=grant.application.client_id,
            authorized=self.notifier.now(),
            token_expires=grant.expires,
            security=not drive.personal and prefers(request, "includesecuritywebhooks"),
        )
        self._check_new(made)
        for url in filter(None, (made.url, made.lifecycle_url)):
            await self.notifier.validate(url)
        self._check_new(made)
        self.notifier.subscriptions[made.id] = made
        return json_response(_json(made) | {"clientState": made.state}, 201)

    def _drive(self, resource: str, grant: AccessGrant) -> Drive:
        address = parse_address("/" + resource.strip("/"))
        if address is None or address.tail or address.path or address.item not in (None, "root"):
            raise bad_request(f"resource '{resource}' is not supported.")
        drive = self.find_drive(address.drive, grant)
        if is_guest(grant, drive):
            raise GraphRefused(403, "accessDenied", "Access denied")
        return drive

    def _url(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            port_is_sane = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_is_sane = urlsplit(""), False
        # Microsoft takes https only; a receiver on this machine seldom has a certificate.
        local = parts.hostname in ("127.0.0.1", "localhost", "::1") and not self.switches.https_notifications
        if not port_is_sane or not parts.hostname or parts.scheme not in (("https", "http") if local else ("https",)):
            raise bad_request("The notification URL must be an absolute https URL.")
        return url

    def _expiry(self, body: Mapping[str, Json]) -> datetime:
        asked, now = parse_time(body.get("expirationDateTime")), self.notifier.now()
        if asked <= now:
            raise bad_request("Subscription expiration must be in the future.")
        if asked > now + LONGEST + timedelta(minutes=1):
            message = "Subscription expiration can only be 43200 minutes in the future."
            raise GraphRefused(400, "ExtensionError", message)
        return max(asked, now + SHORTEST)

    def _check_new(self, made: Subscription) -> None:
        mine = [one for one in self.notifier.alive() if _owner(one) == _owner(made)]
        for one in mine:
            if one.drive_id == made.drive_id:
                message = f"Subscription Id {one.id} already exists for the requested combination"
                raise GraphRefused(409, "ObjectIdentifierInUse", message)
        if len(mine) >= self.switches.subscription_limit:
            raise GraphRefused(403, "Forbidden", "The limit of subscriptions for this application has been reached.")

    def _mine(self, grant: AccessGrant) -> list[Subscription]:
        owner = (grant.application.client_id, _creator(grant))
        return [one for one in self.notifier.alive() if _owner(one) == owner]

    def _one(self, grant: AccessGrant, name: str) -> Subscription:
        found = next((one for one in self._mine(grant) if one.id == name), None)
        if found is None:
            raise GraphRefused(404, "ResourceNotFound", "The object was not found.")
        return found

    async def _list(self, grant: AccessGrant) -> Response:
        return json_response({"value": [_json(one) for one in self._mine(grant)]})

    async def _get(self, grant: AccessGrant, name: str) -> Response:
        return json_response(_json(self._one(grant, name)))

    async def _update(self, request: Request, grant: AccessGrant, name: str) -> Response:
        body, found = await request.json_object(), self._one(grant, name)
        url = text_of(body, "notificationUrl")
        expires = self._expiry(body) if "expirationDateTime" in body else found.expires
        if url is not None:
            await self.notifier.validate(self._url(url))
            found = self._one(grant, name)
        found.expires, found.url = expires, url or found.url
        self.notifier.resume(found, grant.expires)
        return json_response(_json(found))

    async def _reauthorize(self, grant: AccessGrant, name: str) -> Response:
        self.notifier.resume(self._one(grant, name), grant.expires)
        return Response(204)

    async def _delete(self, grant: AccessGrant, name: str) -> Response:
        del self.notifier.subscriptions[self._one(grant, name).id]
        return Response(204)


def _required(body: Mapping[str, Json], name: str) -> str:
    value = text_of(body, name)
    if not value:
        raise bad_request(f"The property '{name}' is required.")
    return value


def _client_state(body: Mapping[str, Json]) -> str | None:
    state = text_of(body, "clientState")
    if state is not None and len(state) > 128:
        raise bad_request("The clientState is longer than 128 characters.")
    return state


def _creator(grant: AccessGrant) -> str:
    return grant.user.oid if grant.user else grant.application.client_id


def _owner(subscription: Subscription) -> tuple[str, str]:
    return subscription.application_id, subscription.creator_id


def _json(one: Subscription) -> dict[str, Json]:
    """Return a subscription; its client state is a secret between two, and shown only once."""
    return {
        "id": one.id,
        "resource": one.resource,
        "applicationId": one.application_id,
        "changeType": "updated",
        "clientState": None,
        "notificationUrl": one.url,
        "notificationQueryOptions": None,
        "lifecycleNotificationUrl": one.lifecycle_url,
        "expirationDateTime": one.expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "creatorId": one.creator_id,
        "includeResourceData": None,
        "latestSupportedTlsVersion": one.tls,
        "encryptionCertificate": None,
        "encryptionCertificateId": None,
        "notificationUrlAppId": None,
    }
