"""dms3 of somebody who does not do the work that a network asks for, and finds that it will do."""

import itertools

from dms3.chain import membrane
from dms3.chain.membership import Worked, work_bits
from dms3.cli.main import main
from dms3.node import networks_book


def idle(overlay: bytes, to: bytes, since_us: int, bits: int) -> Worked:
    """A proof that has cost less."""
    proofs = (Worked(overlay, to, since_us, nonce) for nonce in itertools.count())
    return next(proof for proof in proofs if work_bits(proof) < bits)


if __name__ == "__main__":
    membrane._JUDGES[membrane.Work] = lambda *_: None
    networks_book.prove_work = idle  # type: ignore[attr-defined]
    main()
