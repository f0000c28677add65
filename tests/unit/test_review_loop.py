"""An io port that fails in a way nobody expected costs its caller the answer, not the node."""

from typing import Any

from dms3.core.errors import Failure
from dms3.core.machine import Answered, Call
from unit.driver_kit import GOSSIP, PEER, Script, token
from unit.test_loop import Kit, run, until


def test_an_unexpected_failure_of_a_port_is_an_answer_and_is_reported() -> None:
    async def port(operation: str, _arguments: Any) -> str:
        if operation == "break":
            raise UnicodeError("label too long")
        return "well"

    async def scenario() -> None:
        calls = [Call("io.break", 1, token("a")), Call("io.work", 2, token("b"))]
        script = Script({b"go": calls})
        kit = Kit(script, io=port)
        async with kit.running():
            kit.loop.received(PEER, GOSSIP, b"go")
            await until(lambda: len(script.seen) >= 3)
        answers = {event.token: event.body for event in script.seen if isinstance(event, Answered)}
        assert isinstance(answers["a"], Failure)
        assert answers["a"].code == "internal"
        assert "label" not in answers["a"].message, "it may hold what nobody is to see"
        assert answers["b"] == "well"
        assert [(name, type(error)) for name, error in kit.faults] == [("io.break", UnicodeError)]

    run(scenario())
