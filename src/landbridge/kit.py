"""What an integration's author writes against; an integration imports this and `errors`, and nothing else of ours.

An action is an async function under `@action`. Its name is its title, its docstring the help, its input model the form,
its output model what later steps can refer to; tools and documentation are made of the same. Its first argument is the
integration's own client of the API, a `Client`, which is made anew for each call.
"""

import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeVar, get_args, get_type_hints

from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from landbridge.access import Caller
from landbridge.clock import Clock
from landbridge.errors import (
    ActionRefused,
    CallerMistake,
    InvalidRequest,
    LandbridgeError,
    NotFound,
    ProviderBusy,
    ProviderFailed,
    ProviderUnreachable,
    TokenRenewed,
    TooLarge,
)
from landbridge.files import Contents, File, Files, RunFiles
from landbridge.outbound import Stream, retry_after
from landbridge.proxy import Outgoing, Proxy
from landbridge.store import checkpoints as store
from landbridge.store.database import Database
from landbridge.store.sealed import identity
from landbridge.vault import Vault

__all__ = [
    "Action",
    "Actions",
    "Answer",
    "Checkpoint",
    "Client",
    "Contents",
    "Context",
    "File",
    "Given",
    "Result",
    "Stream",
    "Wait",
    "Workbench",
    "action",
]

LONGEST_SLEEP: Final = timedelta(seconds=5)
"""How long an action may sleep in all; what takes longer is a `Wait`, or an error that says when to come back."""

LARGEST_ANSWER: Final = 32 << 20
"""Bytes of an answer that are read whole; contents are streamed, whatever their size."""

_LARGEST_ERROR = 256 << 10
_TRIES = 3
_PAUSE = timedelta(milliseconds=200)
_PASSING = frozenset({500, 502, 503, 504, 509})
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_SPELLINGS = MappingProxyType({"id": "ID", "by": "by", "onedrive": "OneDrive", "of": "of", "to": "to", "for": "for"})

Body = bytes | Callable[[], AsyncIterator[bytes]] | None
"""What a call sends: bytes, or what gives them anew for each try."""


class Given(BaseModel):
    """What an action is given: its form. Each field has a description; outside, names are in camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Result(BaseModel):
    """What an action gives. What the provider says beyond the fields that we know is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the result as the next step and the API read it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Wait:
    """The action has not ended: call it again after `until`, with the same input and this token."""

    until: datetime
    token: JsonValue


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider's answer to a call, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:  # Any: another system's JSON
        """Return the body as JSON, or None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Checkpoint:
    """What a step of a run has already done: a row of its own, that no engine needs to know of.

    Whoever runs the step again, in another process too, reads what was written before, and goes on from there. It is
    kept until the run is over, and sealed, since it may hold URLs that need no token.
    """

    def __init__(self, database: Database, vault: Vault, clock: Clock, project_id: str, run_id: str, step: str) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._project_id = project_id
        self._run_id = run_id
        self._id = store.checkpoint_id(project_id, run_id, step)

    async def read(self) -> dict[str, Any] | None:  # Any: JSON, as it was written
        """Return what was written last, or None if nothing was."""
        async with self._database.read() as tx:
            sealed = await store.sealed_checkpoint(tx, self._id)
        if sealed is None:
            return None
        state: dict[str, Any] = json.loads(self._vault.open(sealed, self._identity))
        return state

    async def write(self, state: Mapping[str, JsonValue]) -> None:
        """Write down how far the step is, before what comes next is begun."""
        sealed = self._vault.seal(_dumped(dict(state)), self._identity)
        row = store.CheckpointRow(self._id, self._project_id, self._run_id, sealed, self._clock.now())
        async with self._database.begin() as tx:
            await store.put_checkpoint(tx, row)

    async def clear(self) -> None:
        """Forget it: the step begins anew if it is run again."""
        async with self._database.begin() as tx:
            await store.delete_checkpoint(tx, self._id)

    @property
    def _identity(self) -> str:
        return identity("checkpoints", self._project_id, self._id)


@dataclass(frozen=True)
class Context:
    """On whose behalf an action works, and what it works with. `token` is what the `Wait` before this call held."""

    caller: Caller
    integration: str
    selector: str | None
    files: RunFiles
    proxy: Proxy
    clock: Clock
    checkpoint: Checkpoint
    token: JsonValue = None


class Workbench:
    """Lays out what an action works with, for whichever run or caller it is."""

    def __init__(self, proxy: Proxy, files: Files, database: Database, vault: Vault, clock: Clock) -> None:
        self._proxy = proxy
        self._files = files
        self._database = database
        self._vault = vault
        self._clock = clock

    def context(self, caller: Caller, integration: str, selector: str | None, *, run_id: str, step: str) -> Context:
        """Return what a step of a run works with: the same again in another process."""
        return Context(
            caller=caller,
            integration=integration,
            selector=selector,
            files=self._files.of(caller.project_id, run_id),
            proxy=self._proxy,
            clock=self._clock,
            checkpoint=Checkpoint(self._database, self._vault, self._clock, caller.project_id, run_id, step),
        )

    async def clear(self, project_id: str, run_id: str) -> None:
        """Forget the files and checkpoints of a run that is over."""
        async with self._database.begin() as tx:
            await store.delete_checkpoints_of_run(tx, project_id, run_id)
        await self._files.of(project_id, run_id).clear()


_ResultT = TypeVar("_ResultT", bound=Result)


class Client:
    """The integration's API on behalf of one connection, for one call of an action.

    Each integration derives its own, and says in `refusal` what the API's errors mean. What passes by itself is tried
    again here, for `LONGEST_SLEEP` in all; what takes longer is an error that the engine comes back from.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._patience = LONGEST_SLEEP

    def refusal(self, answer: Answer, wait: timedelta | None) -> LandbridgeError:
        """Return what an answer that is no success means; `wait` is what its `Retry-After` asks for."""
        return ProviderFailed(f"The provider answered {answer.status}.", retry_after=wait)

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: Body = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Return the API's answer, read whole. `path` is percent-encoded, with its query; or a URL of the API.

        Raises what `refusal` makes of an answer that is no success, and what `Proxy.send` raises. A call that the API
        may have carried out before it failed is tried again only if it is `repeatable`, as most methods are.
        """
        if repeatable is None:
            repeatable = method in _REPEATABLE_METHODS
        for attempt in range(1, _TRIES + 1):
            stream = await self.open(method, path, headers=headers, json=json, body=body, repeatable=repeatable)
            try:
                return await self.whole(stream)
            except ProviderUnreachable:  # the answer broke off
                if attempt == _TRIES or not repeatable or not await self.wait_a_little(attempt):
                    raise
            finally:
                stream.close()
        raise AssertionError("the last try returns or raises")

    async def whole(self, stream: Stream) -> Answer:
        """Return the rest of an answer. Raises `TooLarge` beyond `LARGEST_ANSWER` bytes."""
        return await _whole(stream, LARGEST_ANSWER)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: Body = None,
        repeatable: bool | None = None,
    ) -> AsyncIterator[Stream]:
        """Give the API's answer while its body is on its way. Otherwise as `call`."""
        stream = await self.open(method, path, headers=headers, json=json, body=body, repeatable=repeatable)
        try:
            yield stream
        finally:
            stream.close()

    async def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: Body = None,
        repeatable: bool | None = None,
    ) -> Stream:
        """Return the API's answer, which the caller closes, while its body is on its way. Otherwise as `call`."""
        sent: CIMultiDict[str] = CIMultiDict(headers or {})
        sent.setdefault("Accept-Encoding", "identity")
        if json is not None:
            sent["Content-Type"], body = "application/json", _dumped(json)

        async def send() -> Stream:
            of = self.context
            outgoing = Outgoing(method, path, sent, body() if callable(body) else body)
            return await of.proxy.send(of.caller, of.integration, of.selector, outgoing)

        if repeatable is None:
            repeatable = method in _REPEATABLE_METHODS
        stream = await self._patiently(send, repeatable=repeatable)
        if stream.status < 300:
            return stream
        try:
            raise self.refusal(await _whole(stream, _LARGEST_ERROR), self._asked_to_wait(stream))
        finally:
            stream.close()

    async def call_signed(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Body = None
    ) -> Answer:
        """Return the answer, whatever its status, of a URL that the API signed: it is called once, without the bearer.

        Raises what `Proxy.send_signed` raises.
        """
        sent = CIMultiDict({"Accept-Encoding": "identity", **(headers or {})})
        outgoing = Outgoing(method, url, sent, body() if callable(body) else body)
        stream = await self.context.proxy.send_signed(self.context.integration, outgoing)
        try:
            return await self.whole(stream)
        finally:
            stream.close()

    async def once(
        self,
        model: type[_ResultT],
        do: Callable[[datetime], Awaitable[_ResultT]],
        find: Callable[[datetime], Awaitable[_ResultT | None]],
    ) -> _ResultT:
        """Return what came of something that must not be done twice, whichever try and process did it.

        `do` gets the instant at which the step began, in whole seconds, and marks with it what it makes; `find` looks
        for what a try made whose answer was lost. Raises what they raise.
        """
        checkpoint = self.context.checkpoint
        state = await checkpoint.read()
        if state and "result" in state:
            return model.model_validate(state["result"])
        if state:
            began = datetime.fromisoformat(state["began"])
            found = await find(began)
        else:
            began, found = self.context.clock.now().replace(microsecond=0), None
            await checkpoint.write({"began": began.isoformat()})
        result = found or await self._done_or_found(do, find, began)
        await checkpoint.write({"result": result.as_json()})
        return result

    async def _done_or_found(
        self,
        do: Callable[[datetime], Awaitable[_ResultT]],
        find: Callable[[datetime], Awaitable[_ResultT | None]],
        began: datetime,
    ) -> _ResultT:
        try:
            return await do(began)
        except (ActionRefused, CallerMistake, ProviderBusy):
            await self.context.checkpoint.clear()  # nothing was done
            raise
        except ProviderFailed:
            if found := await find(began):
                return found
            raise

    async def wait_a_little(self, attempt: int, asked: timedelta | None = None) -> bool:
        """Sleep before another try, longer each time or as asked; or return False: it is time to come back later."""
        return await self._slept(_PAUSE * 4 ** (attempt - 1) if asked is None else asked)

    def be_patient_again(self) -> None:
        """Start the count of `LONGEST_SLEEP` anew, since something was got done."""
        self._patience = LONGEST_SLEEP

    def asked_to_wait(self, answer: Answer) -> timedelta | None:
        """Return the wait that an answer asks for."""
        return retry_after(answer.headers.get("Retry-After"), now=self.context.clock.now())

    async def _patiently(self, send: Callable[[], Awaitable[Stream]], *, repeatable: bool) -> Stream:
        """Return the answer to the first try that neither breaks off nor meets a trouble that passes by itself."""
        for attempt in range(1, _TRIES + 1):
            wait: timedelta | None = _PAUSE * 4 ** (attempt - 1)
            last = attempt == _TRIES
            try:
                stream = await send()
            except TokenRenewed:
                if last:
                    raise
                continue
            except ProviderBusy as error:  # nothing was sent
                if last or not await self._slept(error.retry_after):
                    raise
                continue
            except ProviderUnreachable:
                if last or not repeatable or not await self._slept(wait):
                    raise
                continue
            if last or not (stream.status == 429 or (repeatable and stream.status in _PASSING)):
                return stream
            asked = self._asked_to_wait(stream)
            if not await self._slept(wait if asked is None else asked):
                return stream
            stream.close()
        raise AssertionError("the last try returns or raises")

    def _asked_to_wait(self, stream: Stream) -> timedelta | None:
        return retry_after(stream.headers.get("Retry-After"), now=self.context.clock.now())

    async def _slept(self, wait: timedelta | None) -> bool:
        """Sleep, or return False if that is longer than what is left of the patience."""
        if wait is None or wait > self._patience:
            return False
        self._patience -= wait
        await self.context.clock.sleep(wait)
        return True


async def _whole(stream: Stream, limit: int) -> Answer:
    body = await stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"The provider's answer has more than {limit} bytes.")
    return Answer(stream.status, stream.headers, body)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Action:
    """Something that can be done with a product, on behalf of a connected user."""

    name: str
    title: str
    summary: str
    """One sentence."""

    description: str
    """The sentence, and what else is worth knowing."""

    given: type[Given]
    result: type[Result]
    scopes: frozenset[str]
    """The least that the user must have consented to, for their own drive."""

    repeatable: bool
    """Whether twice is the same as once."""

    _function: Callable[[Any, Any], Awaitable[Result | Wait]] = field(repr=False)  # Any: see `action`, which knows them
    _client: type[Client] = field(repr=False)

    def parse(self, values: Mapping[str, Any]) -> Given:  # Any: JSON, or Files
        """Return the input that `values` means, or raise `InvalidRequest` naming each field that is wrong."""
        try:
            return self.given.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidRequest(f"{self.title}: {_in_plain_words(error)}") from None

    async def receive(self, values: Mapping[str, Any], files: RunFiles) -> Given:  # Any: JSON
        """Return the input that `values` means, taking the contents of files that lie in it into the run's files."""
        received = dict(values)
        for name, of in self.given.model_fields.items():
            if File in (of.annotation, *get_args(of.annotation)):
                for key in {name, of.alias or name} & set(received):
                    if received[key] is not None:
                        received[key] = await files.receive(received[key])
        return self.parse(received)

    async def run(self, context: Context, given: Given) -> Result | Wait:
        """Do it. Raises any `LandbridgeError`."""
        return await self._function(self._client(context), given)


_ClientT = TypeVar("_ClientT", bound=Client)
_GivenT = TypeVar("_GivenT", bound=Given)


def action(
    *, scopes: Set[str], repeatable: bool
) -> Callable[[Callable[[_ClientT, _GivenT], Awaitable[Result | Wait]]], Action]:
    """Make an action of an async function of a client and a form.

    `repeatable` is the one promise that no engine can infer: whether twice is the same as once. An action that is not
    looks for what it may already have done, before it does it again.
    """

    def make(function: Callable[[_ClientT, _GivenT], Awaitable[Result | Wait]]) -> Action:
        hints = get_type_hints(function)
        returned = hints.pop("return")
        client, given = hints.values()
        (result,) = [kind for kind in (get_args(returned) or (returned,)) if kind is not Wait]
        description = inspect.getdoc(function) or ""
        return Action(
            name=function.__name__,
            title=_title(function.__name__),
            summary=description.partition("\n")[0],
            description=description,
            given=given,
            result=result,
            scopes=frozenset(scopes),
            repeatable=repeatable,
            _function=function,
            _client=client,
        )

    return make


class Actions:
    """All actions of all integrations."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._actions: Mapping[str, Mapping[str, Action]] = {
            integration: {
                found.name: found
                for name in getattr(module, "__all__", vars(module))
                if isinstance(found := getattr(module, name), Action)
            }
            for integration, module in modules.items()
        }

    def __iter__(self) -> Iterator[tuple[str, Action]]:
        for integration, actions in self._actions.items():
            for found in actions.values():
                yield integration, found

    def of(self, integration: str) -> Iterable[Action]:
        """Return the actions of an integration, in the order in which its module names them."""
        return self._actions.get(integration, {}).values()

    def get(self, integration: str, name: str) -> Action:
        """Return an action, or raise `NotFound` naming those that there are."""
        found = self._actions.get(integration, {}).get(name)
        if found is None:
            known = ", ".join(self._actions.get(integration, {})) or "none"
            raise NotFound(f"There is no action “{name[:64]}” of {integration[:64]}. There is: {known}.")
        return found


def _title(name: str) -> str:
    return " ".join(_SPELLINGS.get(word, word.capitalize()) for word in name.split("_"))


def _in_plain_words(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{place}: {said}" if place else said)
    return "; ".join(problems)
