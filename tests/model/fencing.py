"""The ownership protocol as a model small enough to look at every interleaving of it.

The world is one log: its metadata records, its object store, and owners that follow one another. Any step
that the protocol allows may come next, in any order: a PUT that was started lands at any later time or
never, also long after its owner has lost the log; an owner may stop for ever, or for a while, between any
two of its steps (no step ever has to be taken). `explore` visits all reachable worlds and judges each one:

- nothing acknowledged is lost: it is in the log, or was when its segment was truncated;
- the log holds what an owner sent in order and without a hole, and acknowledgements have that order too;
- an answer that must be the newest contains everything acknowledged before its question came.

Every rule of the protocol is a member of `Rule` and can be switched off. A rule whose absence goes unnoticed
is not needed or not modelled; the tests demand that each is noticed.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import NamedTuple

FENCE = (-1, -1)


class Rule(Enum):
    """The protocol's rules, each with what it demands."""

    FENCE_AHEAD = "a recorded segment without blocks is fenced too"
    LOOK_AGAIN = "whoever meets a block where it wanted its fence looks again and fences further up"
    RELEASE_IN_ORDER = "blocks are acknowledged in the order of their numbers"
    ROLL_AFTER_LANDING = "a segment is begun when every block of the one before has landed"
    RECORD_FIRST = "a segment is recorded before its first block is written"
    OWN_RECORD = "an owner writes only to segments that it recorded itself"
    TRUNCATE_SEALED = "only sealed segments are truncated"
    KEEP_FENCES = "a fence outlives the deletion of its segment"
    SESSION_GONE = "a log is acquired when the last owner's session is gone"
    PROVE_NEWEST = "who answers with the newest has a live lease at that moment or a proving block"
    PROOF_AFTER_QUESTION = "the PUT of a proving block began after the question came"


class Phase(IntEnum):
    """Where an owner is. DEAD: it met a fence and knows."""

    WAITING = 0
    RECOVERING = 1
    WRITING = 2
    DEAD = 3


Value = tuple[int, int]
"""What a block holds: (owner, how many that owner sent before), or FENCE."""


class Bounds(NamedTuple):
    """How large the world gets. blocks: per owner. truncations: in all. questions: whether any are asked."""

    owners: int
    blocks: int
    in_flight: int
    segment_blocks: int
    truncations: int = 0
    questions: bool = False


class Put(NamedTuple):
    """A started PUT. created: None while it may still land, else whether it created the object."""

    segment: int
    n: int
    value: Value
    created: bool | None


class Look(NamedTuple):
    """Recovery's progress with one unsealed segment. seen: blocks found by the last look, -1 before one."""

    segment: int
    seen: int
    done: bool


class Record(NamedTuple):
    """A segment's record. blocks: how many it holds, -1 while it is active. by: who recorded it."""

    segment: int
    blocks: int
    by: int


class Question(NamedTuple):
    """A question for the newest, put to an owner after a later one has acknowledged something.

    Any answer to it is stale, since what an owner knows ends where its successor begins. Questions that come
    earlier can be answered by anybody and are left out. sent, acked: how many blocks the owner had sent and
    acknowledged when it was asked.
    """

    owner: int
    sent: int
    acked: int
    answered: bool


class Owner(NamedTuple):
    """One owner: what it does and has sent. session_gone: its lease has run out, which it need not know."""

    phase: Phase = Phase.WAITING
    segment: int = -1
    next_n: int = 0
    sent: int = 0
    flying: tuple[Put, ...] = ()
    looks: tuple[Look, ...] = ()
    acked: tuple[int, ...] = ()
    session_gone: bool = False


class World(NamedTuple):
    """Everything there is. trimmed: what truncated segments held. garbage: segments still to be deleted."""

    epoch: int
    records: tuple[Record, ...]
    store: frozenset[tuple[int, int, Value]]
    owners: tuple[Owner, ...]
    trimmed: tuple[Value, ...]
    garbage: tuple[int, ...]
    truncations: int
    question: Question | None


class Outcome(NamedTuple):
    """What an exploration saw.

    broken: the steps that led to the first world that breaks a promise, empty where none does. The others are
    counts of worlds: in which all owners had recovered, something was truncated, a question was open.
    """

    worlds: int
    broken: list[str]
    recovered: int
    truncated: int
    asked: int


class Model:
    """The protocol with some rules switched off."""

    def __init__(self, bounds: Bounds, without: frozenset[Rule] = frozenset()) -> None:
        self.bounds = bounds
        self.without = without

    def start(self) -> World:
        return World(0, (), frozenset(), (Owner(),) * self.bounds.owners, (), (), 0, None)

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Every step that may come next and the world after it."""
        for i, owner in enumerate(world.owners):
            yield from self._landings(world, i, owner)
            if not owner.session_gone and owner.phase is not Phase.WAITING and i + 1 < self.bounds.owners:
                yield f"session {i} ends", with_owner(world, i, owner._replace(session_gone=True))
            match owner.phase:
                case Phase.WAITING:
                    yield from self._acquire(world, i)
                case Phase.RECOVERING:
                    yield from self._recover(world, i, owner)
                case Phase.WRITING:
                    yield from self._write(world, i, owner)
                    yield from self._release(world, i, owner)
                    yield from self._answer(world, i, owner)
                    if world.epoch == i + 1:
                        yield from self._record(world, i, owner)
                    if world.epoch == i + 1 and world.truncations < self.bounds.truncations:
                        yield from self._truncate(world, i, owner)
                case Phase.DEAD:
                    pass
        yield from self._sweep(world)

    def _landings(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        taken = {(segment, n) for segment, n, _ in world.store}
        for j, put in enumerate(owner.flying):
            if put.created is None:
                created = (put.segment, put.n) not in taken
                flying = (*owner.flying[:j], put._replace(created=created), *owner.flying[j + 1 :])
                landed = with_owner(world, i, owner._replace(flying=flying))
                if created:
                    landed = landed._replace(store=world.store | {(put.segment, put.n, put.value)})
                yield f"PUT {put.segment}/{put.n} of {i} lands: {created}", landed

    def _acquire(self, world: World, i: int) -> Iterator[tuple[str, World]]:
        gone = i == 0 or world.owners[i - 1].session_gone or Rule.SESSION_GONE in self.without
        if world.epoch == i and gone:
            looks = tuple(Look(record.segment, -1, False) for record in world.records if record.blocks < 0)
            owner = Owner(Phase.RECOVERING, looks=looks)
            yield f"{i} acquires", with_owner(world, i, owner)._replace(epoch=i + 1)

    def _recover(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        pending = [j for j, look in enumerate(owner.looks) if not look.done]
        if Rule.FENCE_AHEAD in self.without:
            pending = [j for j in pending if run(world, owner.looks[j].segment)[0] or owner.looks[j].seen > 0]
        for j in pending:
            look = owner.looks[j]
            store = world.store
            if look.seen < 0:
                blocks, fenced = run(world, look.segment)
                look, step = look._replace(seen=blocks, done=fenced), "looks at"
            elif all((segment, n) != (look.segment, look.seen) for segment, n, _ in store):
                store = store | {(look.segment, look.seen, FENCE)}
                look, step = look._replace(done=True), "fences"
            else:
                look, step = look._replace(seen=-1, done=Rule.LOOK_AGAIN in self.without), "was too late in"
            looks = (*owner.looks[:j], look, *owner.looks[j + 1 :])
            after = with_owner(world, i, owner._replace(looks=looks))
            yield f"{i} {step} {look.segment}", after._replace(store=store)
        if not pending and world.epoch == i + 1:
            yield f"{i} has recovered", self._recovered(world, i, owner)

    def _recovered(self, world: World, i: int, owner: Owner) -> World:
        """One transaction: what every segment holds, empty ones forgotten, and the first segment of our
        own."""
        found = [
            record if record.blocks >= 0 else record._replace(blocks=run(world, record.segment)[0])
            for record in world.records
        ]
        mine = Record(max((record.segment for record in found), default=-1) + 1, -1, i)
        owner = owner._replace(phase=Phase.WRITING, segment=mine.segment, looks=())
        kept = tuple(record for record in found if record.blocks)
        emptied = tuple(record.segment for record in found if not record.blocks)
        after = with_owner(world, i, owner)
        return after._replace(records=(*kept, mine), garbage=(*world.garbage, *emptied))

    def _write(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        newest = world.records[-1]
        if any(put.created is False for put in owner.flying):
            yield f"{i} meets a fence", with_owner(world, i, owner._replace(phase=Phase.DEAD))
            return
        room = len(owner.flying) < self.bounds.in_flight and owner.sent < self.bounds.blocks
        if room and owner.next_n < self.bounds.segment_blocks:
            put = Put(owner.segment, owner.next_n, (i, owner.sent), None)
            flying = (*owner.flying, put)
            sends = owner._replace(flying=flying, sent=owner.sent + 1, next_n=owner.next_n + 1)
            yield f"{i} sends {put.segment}/{put.n}", with_owner(world, i, sends)
        if owner.next_n < self.bounds.segment_blocks:
            return
        recorded = newest.segment == owner.segment + 1
        mine = newest.by == i or Rule.OWN_RECORD in self.without
        landed = not owner.flying or Rule.ROLL_AFTER_LANDING in self.without
        if (recorded and mine and landed) or (Rule.RECORD_FIRST in self.without and not owner.flying):
            rolls = owner._replace(segment=owner.segment + 1, next_n=0)
            yield f"{i} rolls", with_owner(world, i, rolls)

    def _release(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        for j, put in enumerate(owner.flying):
            if put.created:
                flying = (*owner.flying[:j], *owner.flying[j + 1 :])
                acks = owner._replace(flying=flying, acked=(*owner.acked, put.value[1]))
                yield f"{i} acknowledges {put.segment}/{put.n}", with_owner(world, i, acks)
                return
            if Rule.RELEASE_IN_ORDER not in self.without:
                return

    def _record(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        """Record the next segment ahead of need, in a transaction guarded by the epoch."""
        if world.records[-1].segment == owner.segment:
            ahead = Record(owner.segment + 1, -1, i)
            yield f"{i} records {ahead.segment}", world._replace(records=(*world.records, ahead))

    def _truncate(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        """Seal segments that were left, forget the oldest one; guarded by the epoch too."""
        for j, record in enumerate(world.records):
            if record.blocks < 0 and record.segment < owner.segment:
                found = record._replace(blocks=run(world, record.segment)[0])
                records = (*world.records[:j], found, *world.records[j + 1 :])
                yield f"{i} seals {record.segment}", world._replace(records=records)
        oldest = world.records[0]
        sealed = oldest.blocks >= 0 or Rule.TRUNCATE_SEALED in self.without
        if sealed and len(world.records) > 1:
            after = world._replace(
                records=world.records[1:],
                trimmed=(*world.trimmed, *values(world, oldest)),
                garbage=(*world.garbage, oldest.segment),
                truncations=world.truncations + 1,
            )
            yield f"{i} truncates {oldest.segment}", after

    def _sweep(self, world: World) -> Iterator[tuple[str, World]]:
        for segment in world.garbage:
            spared = FENCE if Rule.KEEP_FENCES not in self.without else None
            store = frozenset(row for row in world.store if row[0] != segment or row[2] == spared)
            garbage = tuple(other for other in world.garbage if other != segment)
            yield f"segment {segment} is deleted", world._replace(store=store, garbage=garbage)

    def _answer(self, world: World, i: int, owner: Owner) -> Iterator[tuple[str, World]]:
        question = world.question
        if question is None:
            if self.bounds.questions and any(later.acked for later in world.owners[i + 1 :]):
                asked = Question(i, owner.sent, len(owner.acked), False)
                yield f"{i} is asked", world._replace(question=asked)
        elif question.owner == i and not question.answered:
            lease = not owner.session_gone or Rule.PROVE_NEWEST in self.without
            if Rule.PROOF_AFTER_QUESTION in self.without:
                block = len(owner.acked) > question.acked
            else:
                block = any(number >= question.sent for number in owner.acked)
            if lease or block:
                yield f"{i} answers", world._replace(question=question._replace(answered=True))


def with_owner(world: World, i: int, owner: Owner) -> World:
    """The world with one owner replaced."""
    return world._replace(owners=(*world.owners[:i], owner, *world.owners[i + 1 :]))


def run(world: World, segment: int) -> tuple[int, bool]:
    """How many blocks a LIST finds from 0 on without a gap, and whether a fence ends them."""
    blocks = {n: value for found, n, value in world.store if found == segment}
    n = 0
    while n in blocks and blocks[n] != FENCE:
        n += 1
    return n, n in blocks


def values(world: World, record: Record) -> list[Value]:
    """What a reader finds in a segment."""
    blocks = {n: value for segment, n, value in world.store if segment == record.segment}
    count = record.blocks if record.blocks >= 0 else run(world, record.segment)[0]
    return [blocks[n] for n in range(count)]


def breaks_promise(world: World) -> bool:
    """Whether something acknowledged is lost or out of order, the log has a hole, or an answer was stale."""
    if world.question is not None and world.question.answered:
        return True
    log = [*world.trimmed, *(value for record in world.records for value in values(world, record))]
    for i, owner in enumerate(world.owners):
        own = [number for writer, number in log if writer == i]
        if own != list(range(len(own))) or list(owner.acked) != own[: len(owner.acked)]:
            return True
    return False


def explore(bounds: Bounds, without: frozenset[Rule] = frozenset()) -> Outcome:
    """Visit every reachable world, nearest first, up to the first one that breaks a promise."""
    model = Model(bounds, without)
    first = model.start()
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    recovered = truncated = asked = 0
    while queue:
        world = queue.popleft()
        if breaks_promise(world):
            return Outcome(len(came_from), _story(came_from, world), recovered, truncated, asked)
        recovered += all(owner.phase >= Phase.WRITING for owner in world.owners)
        truncated += bool(world.trimmed)
        asked += world.question is not None
        for step, after in model.steps(world):
            if after not in came_from:
                came_from[after] = (world, step)
                queue.append(after)
    return Outcome(len(came_from), [], recovered, truncated, asked)


def _story(came_from: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    story = []
    at: World | None = world
    while at is not None and (before := came_from[at]) is not None:
        at, step = before
        story.append(step)
    story.reverse()
    return story
