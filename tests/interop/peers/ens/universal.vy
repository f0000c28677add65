# pragma version 0.4.3
# pragma evm-version prague
"""
The interface of ENS's universal resolver, for tests: finds the resolver of a name as ENSIP-10 says,
asks it, and passes look-ups off the chain on (ERC-3668) as a batch that the caller is the gateway
of (ENSIP-21), so that the answers come back here.
"""

REGISTRY: constant(address) = 0x00000000000C2E074eC69A0dFb2997BA6C7d2e1e
EXTENDED: constant(bytes4) = 0x9061b923
LABELS: constant(uint256) = 16

struct Query:
    sender: address
    urls: DynArray[String[256], 4]
    data: Bytes[2048]


@view
@internal
def _node(name: Bytes[512], start: uint256) -> bytes32:
    """The namehash of the labels of `name` from `start` on."""
    hashes: DynArray[bytes32, LABELS] = []
    at: uint256 = start
    for _: uint256 in range(LABELS):
        size: uint256 = convert(slice(name, at, 1), uint256)
        if size == 0:
            break
        hashes.append(keccak256(slice(name, at + 1, size)))
        at += 1 + size
    node: bytes32 = empty(bytes32)
    for i: uint256 in range(LABELS):
        if i >= len(hashes):
            break
        node = keccak256(concat(node, hashes[len(hashes) - 1 - i]))
    return node


@view
@internal
def _resolver(name: Bytes[512]) -> (address, bool):
    """The resolver of the name or of the nearest name above it, and whether it is extended."""
    at: uint256 = 0
    for _: uint256 in range(LABELS):
        size: uint256 = convert(slice(name, at, 1), uint256)
        if size == 0:
            break
        found: address = abi_decode(
            raw_call(
                REGISTRY,
                abi_encode(self._node(name, at), method_id=method_id("resolver(bytes32)")),
                max_outsize=32,
                is_static_call=True,
            ),
            address,
        )
        if found != empty(address):
            extended: bool = self._extended(found)
            if at > 0 and not extended:
                break
            return found, extended
        at += 1 + size
    raw_revert(abi_encode(name, method_id=method_id("ResolverNotFound(bytes)")))


@view
@internal
def _extended(resolver: address) -> bool:
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        resolver,
        abi_encode(EXTENDED, method_id=method_id("supportsInterface(bytes4)")),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(answer) == 32 and convert(answer, uint256) == 1


@view
@internal
def _passed_on(answer: Bytes[8192], resolver: address):
    """Fail as the resolver did; a look-up becomes one of this contract."""
    if len(answer) < 4 or slice(answer, 0, 4) != method_id(
        "OffchainLookup(address,string[],bytes,bytes4,bytes)"
    ):
        raw_revert(abi_encode(answer, method_id=method_id("ResolverError(bytes)")))
    sender: address = empty(address)
    urls: DynArray[String[256], 4] = []
    data: Bytes[2048] = b""
    callback: bytes4 = empty(bytes4)
    extra: Bytes[2048] = b""
    sender, urls, data, callback, extra = abi_decode(
        slice(answer, 4, len(answer) - 4),
        (address, DynArray[String[256], 4], Bytes[2048], bytes4, Bytes[2048]),
    )
    queries: DynArray[Query, 1] = [Query(sender=sender, urls=urls, data=data)]
    gateways: DynArray[String[32], 1] = ["x-batch-gateway:true"]
    raw_revert(
        abi_encode(
            self,
            gateways,
            abi_encode(queries, method_id=method_id("query((address,string[],bytes)[])")),
            convert(method_id("resolveCallback(bytes,bytes)"), bytes4),
            abi_encode(resolver, callback, extra),
            method_id=method_id("OffchainLookup(address,string[],bytes,bytes4,bytes)"),
        )
    )


@view
@external
def resolve(name: Bytes[512], data: Bytes[2048]) -> (Bytes[8192], address):
    resolver: address = empty(address)
    extended: bool = False
    resolver, extended = self._resolver(name)
    success: bool = False
    answer: Bytes[8192] = b""
    if not extended:
        success, answer = raw_call(
            resolver, data, max_outsize=8192, is_static_call=True, revert_on_failure=False
        )
        if not success:
            self._passed_on(answer, resolver)
        return answer, resolver
    success, answer = raw_call(
        resolver,
        abi_encode(name, data, method_id=method_id("resolve(bytes,bytes)")),
        max_outsize=8192,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success:
        self._passed_on(answer, resolver)
    return abi_decode(answer, (Bytes[8000])), resolver


@view
@external
def resolveCallback(response: Bytes[8192], extra: Bytes[8192]) -> (Bytes[8192], address):
    resolver: address = empty(address)
    callback: bytes4 = empty(bytes4)
    inner: Bytes[2048] = b""
    resolver, callback, inner = abi_decode(extra, (address, bytes4, Bytes[2048]))
    failures: DynArray[bool, 1] = []
    responses: DynArray[Bytes[4096], 1] = []
    failures, responses = abi_decode(response, (DynArray[bool, 1], DynArray[Bytes[4096], 1]))
    if failures[0]:
        raw_revert(responses[0])
    success: bool = False
    answer: Bytes[8192] = b""
    success, answer = raw_call(
        resolver,
        concat(callback, abi_encode(responses[0], inner)),
        max_outsize=8192,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not success:
        self._passed_on(answer, resolver)
    return abi_decode(answer, (Bytes[8000])), resolver
