"""Client of Corrente for Python: lists, events, the catalogue and versions over HTTP.

`Client` is for programs without an event loop, `AsyncClient` for those with one. Both have a method for each route,
with typed answers. Calls that fail are sent again after a wait, and events count once however often they are sent.
Events can also be queued: a page then never waits for them.

The package needs `httpx` and `msgspec`, and nothing else of Corrente.

| file | decides |
|---|---|
| `answers` | types of answers about lists, events, versions and the server |
| `async_client` | how calls and queued events are sent in an event loop |
| `calls` | how the parameters of each route become a request, and which calls may be repeated |
| `client` | how calls and queued events are sent without an event loop |
| `documents` | types of items, profiles and answers about them |
| `errors` | which error an answer becomes |
| `event_queue` | what is dropped, and what becomes of a batch after each attempt |
| `events` | fields of events, and their ids |
| `exchange` | headers of a request, and what counts as an answer |
| `filters` | how a filter of lists is written |
| `queueing` | what both clients have in common: an event before it is queued, and what was dropped |
| `retries` | which failed requests are sent again, and after how long |
| `routes` | names of the methods of both clients |
| `tokens` | tokens of visitors, for public keys |
"""

from corrente.answers import (
    Accepted,
    AliasMove,
    DependencyHealth,
    FeaturePart,
    Health,
    HistoryPart,
    ListOrProblem,
    ListProblem,
    ListReasons,
    Live,
    MadeFrom,
    Parameter,
    Pinned,
    Reasons,
    Recommendations,
    RecommendationsForMany,
    Scored,
    SourcePart,
    StoppedHealth,
    Transparency,
    VersionList,
    VersionSummary,
)
from corrente.async_client import AsyncClient
from corrente.client import Client
from corrente.documents import (
    Item,
    ItemDeleted,
    ItemDocument,
    ItemPage,
    ItemsWritten,
    ItemWritten,
    Profile,
    ProfileDeleted,
    ProfileDocument,
    ProfilePage,
    ProfileWritten,
)
from corrente.errors import (
    Conflict,
    CorrenteError,
    Invalid,
    NotAllowed,
    NotFound,
    Refused,
    TooMany,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from corrente.events import Click, Event, Feedback, Purchase
from corrente.filters import Condition, Filter
from corrente.retries import Retries
from corrente.tokens import visitor_token

__all__ = [
    "Accepted",
    "AliasMove",
    "AsyncClient",
    "Click",
    "Client",
    "Condition",
    "Conflict",
    "CorrenteError",
    "DependencyHealth",
    "Event",
    "FeaturePart",
    "Feedback",
    "Filter",
    "Health",
    "HistoryPart",
    "Invalid",
    "Item",
    "ItemDeleted",
    "ItemDocument",
    "ItemPage",
    "ItemWritten",
    "ItemsWritten",
    "ListOrProblem",
    "ListProblem",
    "ListReasons",
    "Live",
    "MadeFrom",
    "NotAllowed",
    "NotFound",
    "Parameter",
    "Pinned",
    "Profile",
    "ProfileDeleted",
    "ProfileDocument",
    "ProfilePage",
    "ProfileWritten",
    "Purchase",
    "Reasons",
    "Recommendations",
    "RecommendationsForMany",
    "Refused",
    "Retries",
    "Scored",
    "SourcePart",
    "StoppedHealth",
    "TooMany",
    "Transparency",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "VersionList",
    "VersionSummary",
    "visitor_token",
]
