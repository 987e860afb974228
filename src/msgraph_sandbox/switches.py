"""What a test can switch about the sandbox's behaviour, each with the default that real services show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=10 * 366 * 86400)]


class Switches(BaseModel):
    """The switches; change them at start or by `PATCH {control_url}/switches`."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    auto_consent: bool = Field(default=False, description="Sign in and consent at once, without a page.")
    access_token_seconds: Seconds | None = Field(
        default=None,
        description="Life of new access tokens. Unset: 60 to 90 minutes at random for work, 60 for personal accounts.",
    )
    refresh_token_seconds: Seconds = Field(default=90 * 86400, description="Life of new refresh tokens, from issue.")
    code_seconds: Seconds = Field(default=600, description="Life of authorization codes.")
    strict_refresh_rotation: bool = Field(
        default=False, description="A refresh token dies when used. Microsoft's stay good; other providers' do not."
    )
    download_url_seconds: Seconds = Field(default=3600, description="Life of pre-authenticated download URLs.")
    page_size: int = Field(default=200, ge=1, le=1000, description="Items in a page when `$top` is absent.")
    max_simple_upload: int = Field(
        default=250 * 1024 * 1024, ge=0, description="Largest body of `PUT …/content`, in bytes."
    )
    session_conflict: Literal["replace", "fail"] = Field(
        default="replace",
        description="What an upload session does to an existing file if not told. Clients rely on replace.",
    )
    upload_authorization: Literal["tolerate", "refuse"] = Field(
        default="refuse",
        description="What to do with an Authorization header on an upload URL. Microsoft documents a 401; some drives "
        "put up with it, and so does the sandbox for old clients once it is told to `tolerate` it.",
    )
    strict_fragments: bool = Field(default=False, description="Refuse fragments that are no multiple of 320 KiB.")
    replay_last_fragment: bool = Field(
        default=False, description="Answer a repeated last fragment with the item, not with 400."
    )
    rewrite_office_files: bool = Field(
        default=False,
        description="Work drives change Office files when they arrive, as SharePoint does: size and hash differ.",
    )
    rewrite_pictures: bool = Field(
        default=False,
        description="Photographs change when they arrive: JPEG on all drives, HEIC on personal ones.",
    )
    hash_delay_seconds: Seconds = Field(default=0, description="How long a file has no hashes after it changed.")
    short_drive_ids: bool = Field(
        default=False,
        description="Items of personal drives give their drive's id in lower case, without leading zeros.",
    )
    former_root_ids: bool = Field(
        default=False,
        description="Items name the root of a personal drive by its former id, `…!101`; the root has the new one.",
    )
    encoded_names: bool = Field(default=False, description="Items give their names percent-encoded, as some do.")
    encoded_resync: bool = Field(
        default=False, description="The `Location` of a 410 is percent-encoded once too often, and leads nowhere."
    )
    list_own_drives: bool = Field(
        default=True, description="Whether `/me/drives` has the user's drive. Sometimes it does not."
    )
    shared_with_me: bool = Field(
        default=True, description="Whether `sharedWithMe` has anything. Microsoft is ending that."
    )
    copy_seconds: Seconds = Field(default=0, description="How long a copy takes, in the sandbox's time.")
    search_lag_seconds: Seconds = Field(default=0, description="How long changes stay unknown to search.")
    delta_token_seconds: Seconds = Field(default=30 * 86400, description="Life of delta links; older ones answer 410.")
    delta_lag_seconds: Seconds = Field(
        default=0, description="How long changes stay unknown to delta, though they are told of and can be read."
    )
    delta_disorder: bool = Field(
        default=False, description="Pages of delta bring children before their folders, and an item twice."
    )
    batch_disorder: bool = Field(default=False, description="The answers of a batch come in another order.")
    https_notifications: bool = Field(default=False, description="Refuse http notification URLs on loopback too.")
    notification_form: Literal["graph", "onedrive"] = Field(
        default="graph", description="The fields of a notification: Graph's, or those of OneDrive's older own API."
    )
    pause_notifications: Literal["revoked", "token"] = Field(
        default="revoked",
        description="When notifications are held until the subscription is renewed or reauthorized: once its creator "
        "is disabled, revoked or has withdrawn consent; or as soon as the token that it was made with expires, too.",
    )
    notification_delay_seconds: Seconds = Field(default=0.05, description="From a change to its notification.")
    notification_copies: int = Field(default=1, ge=1, le=100, description="How often each notification is sent.")
    notification_loss: float = Field(default=0, ge=0, le=1, description="The share of notifications that get lost.")
    notification_shuffle: bool = Field(
        default=False, description="Hold every other notification until the next is out."
    )
    notification_bundling: bool = Field(
        default=False, description="What goes to one URL at the same time travels in one request, in several values."
    )
    notification_profile: Literal["current", "2023"] = Field(
        default="current",
        description="When a receiver is slow: by today's rules (an answer takes 10 s, ten answers judge, its "
        "notifications wait for 10 s) or by those of 2023 (3 s, a hundred answers, 10 minutes).",
    )
    notification_retry_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=10, description="Before the first retry of a delivery; doubles each time, for four hours."
    )
    slow_answer_seconds: Annotated[float, Field(gt=0, le=600)] | None = Field(
        default=None,
        description="A receiver that takes longer has not answered, and is slow. Unset: as the profile says.",
    )
    subscription_limit: int = Field(default=1000, ge=0, description="Subscriptions of one application and user.")
    redirect_uris: Literal["loopback", "registered"] = Field(
        default="loopback", description="Whether any loopback redirect URI is accepted, or registered ones only."
    )
