"""Definitions for properties: of every kind of step, nested, with references that lead somewhere and nowhere."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st
from pydantic import JsonValue

from landbridge.workflows.definition import (
    ActionStep,
    AppEventTrigger,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    Condition,
    ConditionalStep,
    ConnectionAuth,
    DelayStep,
    FanOutStep,
    FormBody,
    FunctionLimits,
    FunctionStep,
    GraphqlBody,
    HeaderAuth,
    IntegrationEnabledTrigger,
    JsonBody,
    MultipartBody,
    NoAuth,
    NoBody,
    Operator,
    QueryAuth,
    RawBody,
    RequestStep,
    RequestTrigger,
    ResponseStep,
    RunWorkflowStep,
    SchedulerTrigger,
    Setting,
    Step,
    StopStep,
    Validation,
    Workflow,
    XmlBody,
)

Made = TypeVar("Made")


def _made(kind: Callable[..., Made], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Made]:  # Any: values
    """Return things with these fields, by their names in Python; `builds` would add those that have another outside."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


IDS = st.sampled_from(["a", "b", "find", "each", "cls", "self", "aB_9", "x" * 64])
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
LINES = st.text(CHARACTERS, max_size=20)
KEYS = st.text(CHARACTERS, min_size=1, max_size=10)
SEGMENTS = st.sampled_from(
    [".result", ".response", ".error", "[0]", "[-1]", '["a b"]', ".results", ".id", "?", ".event"]
)
ROOTS = st.sampled_from(["trigger", "trigger.event", "settings.a", "user.metadata", "run.id", "x"]) | st.sampled_from(
    ["steps", "steps.a", "steps.find", "steps.each", "secrets.KEY", "item", "index", "fanOut.each.item", "fanOut"]
)
REFERENCES = st.builds(
    lambda root, segments: f"{{{{ {root}{''.join(segments)} }}}}", ROOTS, st.lists(SEGMENTS, max_size=3)
)
BLOCKS = st.lists(st.sampled_from(["x = 1", "", " ", "  deep", "# é", "\t", "- a", "a: b", "…", "🙂"]), max_size=5)
TEXTS = (
    LINES
    | REFERENCES
    | st.builds("{} {}{}".format, LINES, REFERENCES, REFERENCES)
    | BLOCKS.map("\n".join)
    | st.sampled_from(["no", "on", "1", "1e5", "1.5", "0x1f", "007", "12:30:00", "2026-01-31", "~", "null", "=", "<<"])
    | st.sampled_from(["{{", "{{ a b }}", "a\r\nb", "\x85", " a", "a ", "&a", "*a", "!a", "'", '"', "- ", "? ", "#"])
)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINES | REFERENCES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)
SCALARS = TEXTS | st.booleans() | NUMBERS
HEADERS = st.dictionaries(KEYS, SCALARS, max_size=2)
CONDITIONS = _made(Condition, left=VALUES, operator=st.sampled_from(get_args(Operator)), right=VALUES)
GROUPS = st.lists(st.lists(CONDITIONS, max_size=2).map(tuple), max_size=2).map(tuple)
BODIES = st.one_of(
    _made(NoBody),
    _made(JsonBody, value=VALUES),
    _made(FormBody, values=OBJECTS),
    _made(MultipartBody, values=OBJECTS),
    _made(XmlBody, text=TEXTS),
    _made(RawBody, value=TEXTS, content_type=LINES),
    _made(GraphqlBody, query=TEXTS, variables=OBJECTS),
)
AUTHS = st.one_of(
    _made(NoAuth),
    _made(ConnectionAuth, integration=st.none() | KEYS),
    _made(BearerAuth, token=TEXTS),
    _made(BasicAuth, username=TEXTS, password=TEXTS),
    _made(QueryAuth, name=KEYS, value=TEXTS),
    _made(HeaderAuth, name=KEYS, value=TEXTS),
    _made(
        ClientCredentialsAuth,
        token_url=TEXTS,
        client_id=TEXTS,
        client_secret=TEXTS,
        scope=TEXTS,
        client_authentication=st.sampled_from(["basic", "body"]),
    ),
)
ACTIONS = st.sampled_from(["list_files", "save_file", "create_link", "invite_people", "list_drives", "nothing"])
INPUTS = st.dictionaries(
    st.sampled_from(["file", "folderId", "folder_id", "name", "emails", "limit", "type", "nothing"]) | KEYS,
    VALUES,
    max_size=4,
)


def _effect(kind: Any, steps: st.SearchStrategy[Any], **fields: Any) -> st.SearchStrategy[Any]:  # Any: kinds of steps
    ways_on = st.one_of(
        st.fixed_dictionaries({"continue_on_error": st.booleans()}), st.fixed_dictionaries({"on_error": steps})
    )
    common = {"id": IDS, "title": LINES, "auto_retry": st.booleans(), "timeout": st.integers(1, 3600)}
    return st.builds(lambda one, other: kind(**one, **other), st.fixed_dictionaries({**common, **fields}), ways_on)


def _steps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        _effect(ActionStep, steps, integration=st.sampled_from([None, "onedrive", "x"]), action=ACTIONS, input=INPUTS),
        _effect(
            RequestStep,
            steps,
            method=st.sampled_from(["GET", "POST", "DELETE"]),
            url=TEXTS,
            params=OBJECTS,
            headers=HEADERS,
            body=BODIES,
            auth=AUTHS,
        ),
        _effect(
            FunctionStep,
            steps,
            code=TEXTS | st.just("def run(parameters):\n    return 1\n"),
            parameters=st.dictionaries(st.sampled_from(["a", "_", "A9", "size"]), VALUES, max_size=2),
            limits=_made(FunctionLimits, seconds=st.integers(1, 30), memory_mb=st.integers(1, 256)),
            fetch=st.booleans(),
        ),
        _effect(
            RunWorkflowStep, steps, workflow=KEYS | st.sampled_from(["own", "other"]), input=OBJECTS, wait=st.booleans()
        ),
        _made(ConditionalStep, id=IDS, if_=GROUPS, then=steps, else_=steps),
        _made(
            FanOutStep,
            id=IDS,
            over=VALUES,
            concurrency=st.integers(1, 100),
            on_item_error=st.sampled_from(["fail", "collect"]),
            steps=steps,
            result=VALUES,
        ),
    )


LEAVES: st.SearchStrategy[Step] = st.one_of(
    _made(DelayStep, id=IDS, value=TEXTS | NUMBERS, unit=st.sampled_from(["SECONDS", "DAYS"])),
    _made(
        ResponseStep,
        id=IDS,
        response_type=st.sampled_from(["JSON", "FILE"]),
        status_code=st.integers(200, 599),
        headers=HEADERS,
        body=VALUES,
        file=st.none() | TEXTS,
    ),
    _made(StopStep, id=IDS, outcome=st.sampled_from(["succeeded", "failed"]), message=TEXTS),
)
STEPS: st.SearchStrategy[Step] = st.recursive(LEAVES, _steps, max_leaves=8)

VALIDATIONS = st.lists(
    _made(Validation, key=KEYS, required=st.booleans(), data_type=st.sampled_from(["ANY", "FILE"])), max_size=2
).map(tuple)
TRIGGERS = st.one_of(
    _made(RequestTrigger, headers=VALIDATIONS, body=VALIDATIONS, params=VALIDATIONS),
    _made(AppEventTrigger, event=KEYS | st.sampled_from(["strict", "hinted"])),
    _made(
        SchedulerTrigger,
        cron=st.sampled_from(["0 9 * * *", "*/5 * * * * *", "0 0 1 jan mon-fri"]),
        timezone=REFERENCES | st.sampled_from(["UTC", "Europe/Berlin", "{{ user.metadata.zone }}", "{{", "{{ a b }}"]),
    ),
    _made(IntegrationEnabledTrigger),
)
SETTINGS = _made(
    Setting,
    id=IDS,
    type=st.sampled_from(["text", "number", "choice"]),
    title=LINES,
    required=st.booleans(),
    default=VALUES,
    choices=st.lists(LINES, max_size=2).map(tuple),
)
WORKFLOWS: st.SearchStrategy[Workflow] = _made(
    Workflow,
    name=LINES,
    description=TEXTS,
    integration=KEYS | st.just("onedrive"),
    trigger=TRIGGERS,
    settings=st.lists(SETTINGS, max_size=2).map(tuple),
    steps=st.lists(STEPS, max_size=4).map(tuple),
)
