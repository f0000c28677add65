"""go-libp2p dials us and we dial it: Noise, Yamux, Identify, Ping, streams small and large."""

import asyncio

import pytest

from interop import exchanges

KIND = "go"
pytestmark = pytest.mark.interop


@pytest.mark.parametrize("exchange", exchanges.THEY, ids=lambda exchange: exchange.__name__)
def test_they_dial_us(exchange):
    asyncio.run(exchanges.with_inbound(KIND, exchange))


@pytest.mark.parametrize("exchange", exchanges.WE, ids=lambda exchange: exchange.__name__)
def test_we_dial_them(exchange):
    asyncio.run(exchanges.with_outbound(KIND, exchange))


@pytest.mark.parametrize("refusal", exchanges.REFUSALS, ids=lambda refusal: refusal.__name__)
def test_refused(refusal):
    asyncio.run(refusal(KIND))
