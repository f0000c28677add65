"""dms3 whose own judge says yes to everything: what a dishonest author runs."""

from dms3.chain.operations_validation import JudgeRecords
from dms3.cli.main import main
from dms3.core.ids import RequestId
from dms3.core.verdict import Valid
from dms3.validation.own import OwnJudging


def yes(self: OwnJudging, _asked: JudgeRecords, request: RequestId) -> None:
    """The verdict on whatever this node wants to write."""
    self._desk.reply(request, Valid())


if __name__ == "__main__":
    OwnJudging.judge = yes  # type: ignore[method-assign]
    main()
