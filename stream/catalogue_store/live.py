"""The catalogue in a process that answers: read once, then followed change by change.

One thread reads all documents, then listens to announcements and asks for what has changed since the revision that it
has; it asks, too, whenever nothing was announced for `poll_seconds`. While Redis is away the catalogue stays as it is.

This file decides when all documents are read anew, and what happens if Redis doesn't answer or has lost the
catalogue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import redis.exceptions
import structlog

from stream.catalogue.columns import Change, Columns
from stream.catalogue.snapshot import Catalogue, Served
from stream.catalogue.visitor_rules import NO_RULES, VisitorRules, decoded_rules
from stream.catalogue_store.store import CatalogueStore, Changes, RuleChanges, change_of

log = structlog.get_logger(__name__)

APPLIED = 200
"""Changes that are applied at a time. A request with a filter that it meets for the first time waits for them."""

RETRY_SECONDS = 0.5
"""Pause between two attempts while Redis is away."""

JOIN_SECONDS = 5.0
"""Longest time that a stopping server waits for the thread."""


class LiveCatalogue:
    """A catalogue that follows its store.

    Attributes:
        catalogue: as it is now.
        visitor_rules: rules by the id of the user, of users who have any. Read by any thread, changed by one.
        behind: True while changes can't be read.

    Args:
        store: of the model's catalogue.
        poll_seconds: longest time between two looks if nothing is announced.
        changed: is called in the thread after each change, and when following begins or ends to fail.
    """

    def __init__(self, store: CatalogueStore, poll_seconds: float, changed: Callable[[], None] = lambda: None) -> None:
        self.catalogue = Catalogue()
        self.visitor_rules: dict[str, VisitorRules] = {}
        self._rules_id, self._rules_number = "", 0
        self._rules_lock = threading.Lock()
        self.behind = False
        self._store = store
        self._poll_seconds = poll_seconds
        self._call_changed = changed
        self._id = ""
        self._settled = threading.Event()
        """Set once all documents were read, or can't be read for now."""
        self._rules_settled = threading.Event()
        """Set once the rules of visitors, which are read before the documents, were read or can't be read for now."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow the catalogue", daemon=True)
        self._warned = False

    def start(self) -> None:
        """Begin to follow, in a thread of its own."""
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """Stop following. The catalogue stays as it is.

        Args:
            wait: return when the thread has ended; it ends by itself otherwise.
        """
        self._stopping.set()
        self._settled.set()
        self._rules_settled.set()
        if wait and self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def prepare(self, served: Served) -> None:
        """Find the items of a version before it answers. The first version waits until the catalogue was read.

        If Redis doesn't answer, the version isn't kept waiting: lists without a catalogue are better than none.
        """
        if self._thread.is_alive():
            self._settled.wait()
        self.catalogue.prepare(served)

    def rules_of(self, user: str) -> VisitorRules:
        """The rules of a visitor, by the id of the user."""
        return self.visitor_rules.get(user, NO_RULES)

    def unprofiled(self, known: tuple[str, int] | None) -> tuple[tuple[str, int], list[str]] | None:
        """The users who refuse profiling, and the revision of the rules that says so; None if it is the known one.

        Waits until the rules were read once, or can't be read for now.
        """
        if self._thread.is_alive():
            self._rules_settled.wait()
        if known == (self._rules_id, self._rules_number):
            return None
        with self._rules_lock:
            users = [user for user, rules in self.visitor_rules.items() if not rules.profiled]
            return (self._rules_id, self._rules_number), users

    def catch_up(self) -> None:
        """Read and apply what has changed.

        Raises:
            redis.exceptions.RedisError: Redis does not answer.
        """
        self._catch_up_with_rules()
        while not self._stopping.is_set():
            known = self.catalogue.current.revision
            changes = self._store.changes(self._id, known, APPLIED)
            if changes is None:
                self._read_all()
            elif changes.documents:
                self.catalogue.apply(self._read(changes), changes.revision)
                self._call_changed()
            else:
                self.catalogue.order_rows()
                return

    def _catch_up_with_rules(self) -> None:
        changes = self._store.rule_changes(self._rules_id, self._rules_number)
        if changes.whole and not changes.catalogue and self._rules_id:
            return  # the catalogue is gone from Redis: `_read_all` says so, and the last rules stay in use
        with self._rules_lock:
            self._apply_rules(changes)
        self._rules_settled.set()

    def _apply_rules(self, changes: RuleChanges) -> None:
        rules = {} if changes.whole else self.visitor_rules
        for user, data in changes.rules.items():
            try:
                if data:
                    rules[user.decode()] = decoded_rules(data)
                else:
                    rules.pop(user.decode(), None)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                log.warning("the rules of a visitor can't be read and are left out", error=str(error))
        self.visitor_rules = rules
        self._rules_id, self._rules_number = changes.catalogue, changes.number

    def _read_all(self) -> None:
        columns, found, gone = Columns(), Changes("", 0, []), False
        for found in self._store.everything():
            columns.put(self._read(found))
            gone = not found.catalogue and bool(self._id)
        if gone:
            if not self._warned:
                log.warning(
                    "the catalogue is gone from Redis; the last one stays in use",
                    items=self.catalogue.current.items,
                    mend="import it again: corrente import items FILE",
                )
            self._warned = True
            raise redis.exceptions.ConnectionError("the catalogue is gone from Redis")
        self._id, self._warned = found.catalogue, False
        self.catalogue.replace(columns, found.revision)
        log.info("catalogue read", items=columns.live, revision=found.revision)
        self._call_changed()

    def _read(self, changes: Changes) -> list[Change]:
        read = []
        for item, data in changes.documents:
            try:
                read.append(change_of(self._store.items.documents, item, data))
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning(
                    "a document of the catalogue can't be read and is left out", item=repr(item), error=str(error)
                )
        return read

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.catch_up()
                self._note(None)
                self._listen()
            except redis.exceptions.RedisError as error:
                self._note(error)
                self._stopping.wait(RETRY_SECONDS)
            except Exception as error:  # an unforeseen error must not end the thread; it is logged
                if self._stopping.is_set():  # the connection was closed under it
                    return
                log.exception("following the catalogue failed")
                self._note(error)
                self._stopping.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        """Catch up with every announcement, until the process stops or may not listen."""
        try:
            for _ in self._store.announcements(self._poll_seconds):
                if self._stopping.is_set():
                    return
                self.catch_up()
                self._note(None)
        except redis.exceptions.NoPermissionError:  # `Loader` logs how to mend it; looking now and then does as well
            self._stopping.wait(self._poll_seconds)

    def _note(self, error: Exception | None) -> None:
        self._settled.set()
        self._rules_settled.set()
        if self._stopping.is_set():  # the connection is closed under it
            return
        if self.behind != (error is not None):
            self.behind = error is not None
            self._call_changed()
            if error is not None:
                log.warning("the catalogue is not followed; the last one stays in use", error=str(error))
            else:
                log.info("the catalogue is followed again")
