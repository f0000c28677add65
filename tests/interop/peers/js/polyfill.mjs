// js-libp2p is written for node 22; on node 20 this one function is missing.
Promise.withResolvers ??= function withResolvers () {
  let resolve, reject
  const promise = new this((ok, fail) => { resolve = ok; reject = fail })
  return { promise, resolve, reject }
}
