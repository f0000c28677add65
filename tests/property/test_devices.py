"""Two or three devices under partition, kills and moves: nothing acknowledged is lost, and all come
to have the union (Hypothesis, stateful). The machines are production's; time is virtual."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from dms3.core.errors import Failure
from dms3.storage.operations import Durable
from unit.storage.storage_kit import CLOUD, LOCAL, SECOND_CLOUD, World, item

DEVICES = st.integers(0, 2)
PLACES = st.sampled_from((CLOUD, SECOND_CLOUD, CLOUD, SECOND_CLOUD, LOCAL))


class Devices(RuleBasedStateMachine):
    """A person with devices; `acknowledged`: what some device was told to be shared."""

    def __init__(self) -> None:
        super().__init__()
        self.world = None
        self.count = 0
        self.acknowledged = set()
        self.waiting = {}
        self.removed = None

    @initialize(count=st.integers(2, 3), seed=st.integers(0, 1 << 16), shared=st.booleans())
    def begin(self, count, seed, shared):
        self.world = World(count, seed)
        if shared:
            self.world.share()

    def device(self, number):
        return self.world.devices[number % len(self.world.devices)]

    def hear(self):
        """Take the answers that have come."""
        for device, request in list(self.waiting):
            if request in device.answers:
                keys = self.waiting.pop((device, request))
                answer = device.answers.pop(request)
                if isinstance(answer, Durable) and answer.shared:
                    self.acknowledged |= keys
                    device.unsettled -= keys

    def send(self, device, keys):
        items = tuple(item(key, int(key)) for key in sorted(keys))
        self.waiting[device, device.call("append", items)] = set(keys)

    @rule(number=DEVICES, many=st.integers(1, 20))
    def append(self, number, many):
        device = self.device(number)
        if device.machine is not None:
            keys = {str(self.count + index) for index in range(many)}
            self.count += many
            device.own |= {("message", key): item(key, int(key)) for key in keys}
            device.unsettled = getattr(device, "unsettled", set()) | keys
            self.send(device, keys)
            self.hear()

    @rule(number=DEVICES, steps=st.integers(0, 60))
    def kill(self, number, steps):
        self.world.steps(steps)
        self.hear()
        device = self.device(number)
        if device.machine is not None:
            device.kill()
            for each in list(self.waiting):
                if each[0] is device:
                    del self.waiting[each]

    @rule(number=DEVICES)
    def start(self, number):
        device = self.device(number)
        if device.machine is None:
            device.start()
            unsettled = getattr(device, "unsettled", set())
            if unsettled:
                self.send(device, unsettled)

    @rule(number=DEVICES, cut=st.booleans())
    def partition(self, number, cut):
        self.device(number).cut_off = cut

    @rule(place=st.sampled_from((CLOUD, SECOND_CLOUD)), down=st.booleans())
    def fail(self, place, down):
        self.world.shelf(place).down = down

    @rule(number=DEVICES, place=PLACES)
    def choose(self, number, place):
        device = self.device(number)
        if (
            device is not self.removed
            and device.machine is not None
            and not (place == LOCAL and number)
        ):
            device.call("choose", place)

    @rule(by=DEVICES)
    def remove(self, by):
        """The last device goes, once."""
        device, last = self.device(by), self.world.devices[-1]
        if device.machine is not None and device is not last and self.removed is None:
            request = device.call("remove_device", last.id.hex())
            self.world.run(0.001)
            if not isinstance(device.answers.get(request), Failure):
                self.removed = last

    @rule(seconds=st.sampled_from((0.01, 0.1, 1, 10, 100, 1_000)))
    def run(self, seconds):
        self.world.run(seconds)
        self.hear()

    def teardown(self):
        if self.world is None:
            return
        for place in (CLOUD, SECOND_CLOUD):
            self.world.shelf(place).down = False
        for number, device in enumerate(self.world.devices):
            device.cut_off = False
            self.start(number)
        self.world.run(2_000)
        self.hear()
        staying = [device for device in self.world.devices if device is not self.removed]
        if self.removed is not None:
            self.removed.kill()
        meeting = staying[0]
        for _ in range(2):  # concurrent wishes may lead to several places before they meet
            for device in staying:
                if device.state().place != meeting.state().place or device is meeting:
                    device.ask("choose", CLOUD, 20_000)
                    self.world.run(1_000)
        places = {device.state().place for device in staying}
        assert len(places) == 1, [device.state() for device in staying]
        self.hear()
        self.world.converge(20_000)
        self.hear()
        for device in staying:
            assert self.acknowledged <= device.keys(), self.acknowledged - device.keys()
            assert device.state().pending == 0
            assert not getattr(device, "unsettled", None), device.unsettled


Devices.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_devices = pytest.mark.timeout(600)(Devices.TestCase)
