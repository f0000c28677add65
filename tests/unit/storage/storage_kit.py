"""Storage machines of several devices over places in memory, in virtual time, driven by hand."""

import heapq
import random

from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.core.machine import Answered, Call, Called, Delete, Notify, Now, Persist, Reply
from dms3.crypto.keys import KeyTree
from dms3.crypto.words import words_of_entropy
from dms3.storage.operations import (
    DeleteObject,
    GetObject,
    Item,
    ListObjects,
    Place,
    PutObject,
)
from dms3.storage.storage import Storage

SECOND = 1_000_000
DAY = 24 * 3_600 * SECOND
WALL = 1_800_000_000 * SECOND
TREE = KeyTree.of_words(words_of_entropy(b"storage of words"))
LOCAL = Place("local")
CLOUD = Place("webdav", "https://cloud.example/chunks", '{"password": "secret"}')
SECOND_CLOUD = Place("s3", "https://s3.example/bucket", '{"key": "secret"}')


class Entropy:
    def __init__(self, seed) -> None:
        self.random = random.Random(seed)

    def draw(self, count):
        return self.random.randbytes(count)


def item(key, order_ms=1, body=b"body", kind="message"):
    return Item(kind, str(key), body, order_ms)


class Shelf:
    """A place: what lies there, what was asked of it, and how it behaves."""

    def __init__(self) -> None:
        self.objects = {}
        self.down = False
        self.before = None  # (operation, name) -> an answer instead, or None
        self.counts = {"put": 0, "get": 0, "delete": 0, "check": 0}

    def answer(self, operation, arguments):
        self.counts[operation] += 1
        if self.down:
            return Failure("peer_unreachable", "The cloud is down.")
        name = getattr(arguments, "name", "")
        if self.before is not None:
            found = self.before(operation, name, arguments)
            if found is not None:
                return found[0]
        if isinstance(arguments, PutObject):
            assert len(name) == 64
            self.objects[name] = arguments.data
        elif isinstance(arguments, GetObject):
            return self.objects.get(name)
        elif isinstance(arguments, DeleteObject):
            self.objects.pop(name, None)
        else:
            assert isinstance(arguments, (Place, ListObjects))
        return None


class Device:
    """One device with its store, its mailbox, and the places it can reach."""

    def __init__(self, world, index) -> None:
        self.world = world
        self.index = index
        self.id = bytes([index + 1]) * 16
        self.tables = {}
        self.mailbox = {}  # durable, as in the real mailbox
        self.merged = []
        self.rotated = []
        self.repeats = 0
        self.own = {}  # what it appended, for repeat
        self.told = []
        self.answers = {}
        self.machine = None
        self.boot = 0
        self.cut_off = False
        self.count = 0
        self.merge_fails = False
        self.start()

    # the store, as a View
    def get(self, table, key):
        return self.tables.get(table, {}).get(key)

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    def start(self):
        self.boot += 1
        self.entropy = Entropy(f"{self.world.seed}/{self.index}/{self.boot}")
        self.machine = Storage(TREE, self.id, f"device {self.index}", self.entropy)
        self.take(self.machine.on_start(self, self.world.now))

    def kill(self):
        """What was under way stays under way at the place; nobody hears the answers."""
        self.machine = None
        self.boot += 1
        self.answers = {}

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                assert len(effect.value) < 64 * 1024
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Call):
                self.world.ask(self, effect)
            elif isinstance(effect, Reply):
                self.answers[effect.request] = effect.body
            elif isinstance(effect, Notify):
                self.told.append(effect)
            if self.machine is None:
                return
        due = self.machine.next_timer()
        if due is not None:
            self.world.at(due, self.timer, self.boot)

    def timer(self, boot):
        if self.machine is not None and boot == self.boot:
            due = self.machine.next_timer()
            if due is not None and due <= self.world.time:
                self.take(self.machine.on_timer(self.world.now))

    def answered(self, boot, token, body):
        if self.machine is not None and boot == self.boot:
            self.take(self.machine.on_event(Answered(token, body), self.world.now))

    def call(self, operation, arguments=None):
        self.count += 1
        request = RequestId(self.count)
        self.take(self.machine.on_event(Called(operation, arguments, request), self.world.now))
        return request

    def ask(self, operation, arguments=None, seconds=600):
        """The answer to a command, which must come in time."""
        request = self.call(operation, arguments)
        self.world.run(seconds, until=lambda: request in self.answers)
        assert request in self.answers, (operation, self.state())
        return self.answers.pop(request)

    def append(self, *items: Item, seconds=600):
        for each in items:
            self.own[each.kind, each.key] = each
        return self.ask("append", tuple(items), seconds)

    def state(self):
        request = self.call("chosen")
        return self.answers.pop(request)

    def keys(self):
        """Everything this device has: its own and what was merged."""
        return {key for _, key in (*self.own, *self.mailbox)}

    def port(self, port, arguments):
        """Called when the call reaches whoever answers it."""
        name, operation = port.split(".")
        return getattr(self, f"answer_{name}")(operation, arguments)

    def answer_place(self, operation, arguments):
        place = arguments if isinstance(arguments, Place) else arguments.place
        if place.kind == "local":
            return self.local.answer(operation, arguments)
        if self.cut_off:
            return Failure("peer_unreachable", "There is no line.")
        return self.world.shelf(place).answer(operation, arguments)

    def answer_mailbox(self, operation, arguments):
        if operation == "merge" and self.merge_fails:
            return Failure("limit_reached", "The mailbox is busy.")
        if operation == "merge":
            self.merged.append(arguments)
            self.mailbox |= {(each.kind, each.key): each for each in arguments}
        elif operation == "rotate":
            self.rotated.append(arguments)
        else:
            assert operation == "repeat"
            self.repeats += 1
            again = tuple({**self.mailbox, **self.own}.values())
            if again:
                self.world.at(self.world.time, self.repeat, self.boot, again)
        return None

    def repeat(self, boot, again):
        if boot == self.boot and self.machine is not None:
            self.call("append", again)

    @property
    def local(self):
        return self.world.shelf(Place("local", f"of {self.index}"))


class World:
    """Devices, places and a heap of what is under way."""

    def __init__(self, count=2, seed=1, delay=None) -> None:
        self.seed = seed
        self.time = 1_000
        self.heap = []
        self.sequence = 0
        self.random = random.Random(f"delay {seed}")
        self.delay = delay or (lambda _operation: self.random.randrange(1_000, 60_000))
        self.shelves = {}
        self.devices = []
        for _ in range(count):
            self.devices.append(Device(self, len(self.devices)))

    def add(self):
        self.devices.append(Device(self, len(self.devices)))
        return self.devices[-1]

    @property
    def now(self):
        return Now(self.time, WALL + self.time)

    def shelf(self, place):
        return self.shelves.setdefault((place.kind, place.url), Shelf())

    def at(self, time, action, *arguments: object):
        self.sequence += 1
        heapq.heappush(self.heap, (max(time, self.time), self.sequence, action, arguments))

    def ask(self, device, call):
        operation = call.port.split(".")[1]
        delay = self.delay(operation)
        self.at(self.time + delay // 2, self.reach, device, device.boot, call, delay // 2)

    def reach(self, device, boot, call, back):
        if not call.port.startswith("place.") and boot != device.boot:
            return  # it died with the device
        body = device.port(call.port, call.arguments)
        self.at(self.time + back, device.answered, boot, call.token, body)

    def run(self, seconds, until=lambda: False):
        end = self.time + int(seconds * SECOND)
        while self.heap and self.heap[0][0] <= end:
            if until():
                return
            self.time, _, action, arguments = heapq.heappop(self.heap)
            action(*arguments)
        if not until():
            self.time = end

    def steps(self, count):
        """At most so many events."""
        for _ in range(count):
            if self.heap:
                self.time, _, action, arguments = heapq.heappop(self.heap)
                action(*arguments)

    def share(self, place=CLOUD, seconds=600):
        """All devices choose one place, one after the other."""
        for device in self.devices:
            state = device.ask("choose", place, seconds)
            assert not isinstance(state, Failure), state
            assert state.place == place

    def converge(self, seconds=4_000):
        """Everybody running comes to have everything that anybody appended."""
        running = [device for device in self.devices if device.machine is not None]
        for device in running:
            device.call("look")
        wanted = {key for device in running for _, key in device.own}
        self.run(seconds, until=lambda: all(wanted <= device.keys() for device in running))
        for device in running:
            assert wanted <= device.keys(), (device.index, wanted - device.keys(), device.state())
