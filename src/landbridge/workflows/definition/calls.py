"""What a Request step sends, and what proves who calls."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from landbridge.workflows.definition.parts import Key, Line, Part, Templates


class NoBody(Part):
    """Nothing."""

    type: Literal["none"] = "none"


class JsonBody(Part):
    """A value as JSON."""

    type: Literal["json"] = "json"
    value: JsonValue
    """The value."""


class FormBody(Part):
    """Fields as `application/x-www-form-urlencoded`."""

    type: Literal["form"] = "form"
    values: Templates
    """The fields; a list is a field that is there several times."""


class MultipartBody(Part):
    """Fields and files as `multipart/form-data`."""

    type: Literal["multipart"] = "multipart"
    values: Templates
    """The fields; a File that a step gave is sent with its contents."""


class XmlBody(Part):
    """A text as `application/xml`."""

    type: Literal["xml"] = "xml"
    text: str
    """The document."""


class RawBody(Part):
    """A text, or a file's contents, as they are."""

    type: Literal["raw"] = "raw"
    value: str
    """The text, or one reference to a File that a step gave."""
    content_type: Line = "text/plain"
    """What it is called; a File has its own."""


class GraphqlBody(Part):
    """A GraphQL query."""

    type: Literal["graphql"] = "graphql"
    query: str
    """The query."""
    variables: Templates = Field(default={})
    """Its variables."""


class NoAuth(Part):
    """Nothing is added."""

    type: Literal["none"] = "none"


class ConnectionAuth(Part):
    """The connected user's own access: the call goes to the integration's API, and the URL may be relative to it."""

    type: Literal["connection"] = "connection"
    integration: Key | None = None
    """The integration; the workflow's own if it is left out."""


class BearerAuth(Part):
    """`Authorization: Bearer TOKEN`."""

    type: Literal["bearer"] = "bearer"
    token: str
    """The token."""


class BasicAuth(Part):
    """`Authorization: Basic`, of a name and a password."""

    type: Literal["basic"] = "basic"
    username: str
    """The name."""
    password: str = ""
    """The password."""


class QueryAuth(Part):
    """A parameter of the query."""

    type: Literal["query"] = "query"
    name: Key
    """The parameter's name."""
    value: str
    """Its value."""


class HeaderAuth(Part):
    """A header."""

    type: Literal["header"] = "header"
    name: Key
    """The header's name."""
    value: str
    """Its value."""


class ClientCredentialsAuth(Part):
    """A token that is fetched by OAuth 2 client credentials (RFC 6749 §4.4), and kept until it expires."""

    type: Literal["clientCredentials"] = "clientCredentials"
    token_url: str
    """Where tokens are asked for."""
    client_id: str
    """The client."""
    client_secret: str
    """Its secret."""
    scope: str = ""
    """Scopes, with spaces between them."""
    client_authentication: Literal["basic", "body"] = "basic"
    """Whether client and secret go into the header `Authorization` or into the body."""


Body = Annotated[
    NoBody | JsonBody | FormBody | MultipartBody | XmlBody | RawBody | GraphqlBody, Field(discriminator="type")
]
Auth = Annotated[
    NoAuth | ConnectionAuth | BearerAuth | BasicAuth | QueryAuth | HeaderAuth | ClientCredentialsAuth,
    Field(discriminator="type"),
]
