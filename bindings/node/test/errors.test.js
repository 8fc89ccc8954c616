'use strict'

// Bad input: each case is an error with a code and a sentence, and changes
// nothing.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const forebay = require('forebay')

const region = forebay.privateRegion({ bytes: 8 << 20, manualClock: true })
const limiter = region.limiter('limiter', { rate: '2/s', tiers: { pro: '5/s' } })
const cache = region.cache('cache', { bytes: 1 << 20 })
const breaker = region.breaker('breaker', { openFor: '1s' })
const histogram = region.histogram('histogram')

/** `f` throws a `type` with this code and a sentence that `says`. */
function refused(f, type, says, code = 'FB_E_INVALID_ARGUMENT') {
  assert.throws(f, (error) => {
    assert.equal(error.constructor, type, `${error.name}: ${error.message}`)
    assert.equal(error.code, code)
    assert.match(error.message, says)
    return true
  })
}

/** The same of a promise. */
async function rejected(promise, type, says) {
  const error = await promise.then(assert.fail, (error) => error)
  refused(() => { throw error }, type, says)
}

const HALVES = ['\ud800', 'a\udfffb', `${'x'.repeat(300)}\ud800`, '\udc00\ud800', '\ufffd\ud800']

test('a key of another type is a TypeError that says what keys are', () => {
  for (const key of [undefined, null, 1, 1n, true, Symbol('a'), {}, () => {}, new Map()]) {
    refused(() => limiter.allow(key), TypeError, /^key: got .*; allowed: a string, a Uint8Array/)
    refused(() => cache.get(key), TypeError, /^key: got/)
    refused(() => cache.set(key, 'v'), TypeError, /^key: got/)
  }
  for (const array of [new Uint16Array(2), new Float64Array(1), new DataView(new ArrayBuffer(2))]) {
    refused(() => limiter.allow(array), TypeError, /^key: got an object/)
  }
})

test('a part of a key of another type is an error too', () => {
  for (const part of [undefined, null, 1n, true, {}, ['a']]) {
    refused(() => limiter.allow(['a', part]), TypeError, /^key: got a part that is/)
  }
  for (const part of [1.5, NaN, Infinity, 2 ** 53]) {
    refused(() => limiter.allow(['a', part]), RangeError, /^key: got the part/)
  }
  refused(() => limiter.allow([]), RangeError, /at least one part/)
})

test('an error thrown by a getter in a key passes through', () => {
  const key = ['a', 'b']
  Object.defineProperty(key, 1, {
    get() {
      throw new Error('mine')
    },
  })
  assert.throws(() => limiter.allow(key), { message: 'mine' })
})

test('a getter in a key cannot pull the bytes from under another part', () => {
  const bytes = new Uint8Array(4096).fill(7)
  const key = [bytes, 'b']
  Object.defineProperty(key, 1, {
    get() {
      structuredClone(bytes, { transfer: [bytes.buffer] })
      return 'b'
    },
  })
  assert.equal(cache.set(key, 'v'), true)
  assert.equal(cache.get([new Uint8Array(4096).fill(7), 'b']), 'v')
})

test('text with half of a surrogate pair is refused as a key, not aliased', () => {
  for (const key of HALVES) {
    refused(() => limiter.allow(key), RangeError, /half of a surrogate pair/)
    refused(() => limiter.allow(['a', key]), RangeError, /half of a surrogate pair/)
    refused(() => cache.set(key, 'v'), RangeError, /half of a surrogate pair/)
  }
  refused(() => limiter.allow('a', 1, '\ud800'), RangeError, /^tier: got .* surrogate/)
  refused(() => region.cache('\ud800'), RangeError, /^name: got .* surrogate/)
})

test('text that has U+FFFD itself, or whole pairs, is a key like any other', () => {
  for (const key of ['\ufffd', 'a\ufffdb', '\ud83d\ude00', `${'\ud83d\ude00'.repeat(100)}`, '\uffff']) {
    assert.equal(cache.set(key, key), true)
    assert.equal(cache.get(key), key)
    assert.equal(cache.get(Buffer.from(key)), key)
  }
})

test('a detached array is an error, not an empty key', () => {
  const bytes = new Uint8Array(8)
  structuredClone(bytes, { transfer: [bytes.buffer] })
  refused(() => limiter.allow(bytes), TypeError, /^key: got a detached Uint8Array/)
  refused(() => cache.set('k', bytes), TypeError, /^value: got a detached Uint8Array/)
  assert.equal(limiter.allow(new Uint8Array(0)), true)
})

test('bytes in a SharedArrayBuffer are read like others', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(16), 4, 3)
  shared.set([1, 2, 3])
  assert.equal(cache.set(shared, shared), true)
  assert.deepEqual(cache.get(Buffer.from([1, 2, 3])), Buffer.from([1, 2, 3]))
})

test('a view of part of a buffer is that part', () => {
  const view = Buffer.from('abcdef').subarray(2, 4)
  assert.equal(cache.set(view, view), true)
  assert.deepEqual(cache.get('cd'), Buffer.from('cd'))
})

test('keys of any length do not run into each other', () => {
  for (const length of [0, 1, 250, 251, 252, 253, 255, 256, 257, 1000, 5000]) {
    const key = 'é'.repeat(Math.floor(length / 2)) + 'x'.repeat(length % 2)
    assert.equal(cache.set(key, `v${length}`), true)
    assert.equal(cache.get(key), `v${length}`)
    assert.equal(cache.get(Buffer.from(key)), `v${length}`)
    assert.equal(cache.get(`${key}x`), undefined)
  }
})

test('a cost is a whole number that is not negative', () => {
  for (const cost of [-1, 1.5, NaN, Infinity, -Infinity, 2 ** 53]) {
    refused(() => limiter.allow('k', cost), RangeError, /^cost: got/)
    refused(() => limiter.take('k', cost), RangeError, /^cost: got/)
    refused(() => limiter.peek('k', cost), RangeError, /^cost: got/)
  }
  for (const cost of ['1', null, 1n, {}]) {
    refused(() => limiter.allow('k', cost), TypeError, /^cost: got/)
  }
  refused(() => limiter.allow('k', 1, 5), TypeError, /^tier: got a number/)
  assert.equal(limiter.take('k').remaining, 1)
})

test('a cost above the burst is refused for ever, and spends nothing', () => {
  const { allowed, retryAfter } = limiter.take('costly', Number.MAX_SAFE_INTEGER)
  assert.deepEqual([allowed, retryAfter], [false, null])
  assert.equal(limiter.take('costly').remaining, 1)
})

test('the verbs of a limiter name the argument that is wrong, and change nothing', async () => {
  const limiter = region.limiter('verbs', '2/s')
  const before = [limiter.peek('k'), limiter.stats()]
  for (const tokens of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    refused(() => limiter.refund('k', tokens), RangeError, /^tokens: got/)
    refused(() => limiter.penalize('k', tokens), RangeError, /^tokens: got/)
    refused(() => limiter.enforce('k', tokens), RangeError, /^cost: got/)
    refused(() => limiter.reserve('k', 0, { cost: tokens }), RangeError, /^cost: got/)
    await rejected(limiter.acquire('k', 0, { cost: tokens }), RangeError, /^cost: got/)
  }
  for (const tokens of ['1', null, 1n, {}]) {
    refused(() => limiter.refund('k', tokens), TypeError, /^tokens: got/)
    refused(() => limiter.penalize('k', tokens), TypeError, /^tokens: got/)
    refused(() => limiter.enforce('k', tokens), TypeError, /^cost: got/)
    await rejected(limiter.acquire('k', 0, { cost: tokens }), TypeError, /^cost: got/)
  }
  for (const time of [-1, NaN, Infinity, 2 ** 64, '', '5', '-5m', '1e3s']) {
    refused(() => limiter.block('k', time), RangeError, /^time: got/)
    refused(() => limiter.reserve('k', time), RangeError, /^maxWait: got/)
    await rejected(limiter.acquire('k', time), RangeError, /^timeout: got/)
  }
  for (const time of [undefined, null, true, 5n, {}]) {
    refused(() => limiter.block('k', time), TypeError, /^time: got/)
    refused(() => limiter.reserve('k', time), TypeError, /^maxWait: got/)
    await rejected(limiter.acquire('k', time), TypeError, /^timeout: got/)
  }
  for (const key of [undefined, 7, {}]) {
    for (const verb of ['enforce', 'refund', 'penalize', 'unblock']) {
      refused(() => limiter[verb](key), TypeError, /^key: got/)
    }
    refused(() => limiter.block(key, 1), TypeError, /^key: got/)
    refused(() => limiter.reserve(key, 1), TypeError, /^key: got/)
    await rejected(limiter.acquire(key, 1), TypeError, /^key: got/)
  }
  for (const options of [null, 5, [], 'x']) {
    refused(() => limiter.reserve('k', 1, options), TypeError, /^options: got/)
    await rejected(limiter.acquire('k', 1, options), TypeError, /^options: got/)
  }
  refused(() => limiter.refund('k', 1, 5), TypeError, /^tier: got a number/)
  refused(() => limiter.reserve('k', 1, { tier: 5 }), TypeError, /^tier: got a number/)
  refused(() => limiter.reserve('k', 1, { signal: null }), TypeError, /"signal"; allowed: cost, tier/)
  await rejected(limiter.acquire('k', 1, { Cost: 1 }), TypeError, /"Cost"; allowed: cost, tier, signal/)
  for (const signal of [null, {}, 5]) {
    await rejected(limiter.acquire('k', 1, { signal }), TypeError, /^signal: got/)
  }
  assert.deepEqual([limiter.peek('k'), limiter.stats()], before)
})

test('requests that are none are refused before any is charged', () => {
  const { takeAll } = forebay
  const one = region.limiter('one', '2/s')
  const good = { limiter: one, key: 'k' }
  for (const requests of [undefined, null, {}, 'x', new Set([good])]) {
    refused(() => takeAll(requests), TypeError, /^requests: got .*an array/)
  }
  for (const request of [undefined, null, 5, [one, 'k']]) {
    refused(() => takeAll([good, request]), TypeError, /^request: got .*an object/)
  }
  // A hole.
  refused(() => takeAll([good, , good]), TypeError, /^request: got undefined/)
  refused(() => takeAll([good, { ...good, costs: 1 }]), TypeError, /^request: got "costs"/)
  for (const limiter of [undefined, null, cache, 'one', Object.create(forebay.Limiter.prototype)]) {
    refused(() => takeAll([good, { limiter, key: 'k' }]), TypeError, /^limiter: got .*; allowed: a Limiter/)
  }
  refused(() => takeAll([good, { limiter: one }]), TypeError, /^key: got undefined/)
  refused(() => takeAll([good, { ...good, cost: -1 }]), RangeError, /^cost: got -1/)
  refused(() => takeAll([good, { ...good, tier: 1 }]), TypeError, /^tier: got a number/)
  refused(() => takeAll(Array(17).fill(good)), RangeError, /^requests: got 17; allowed: at most 16$/)
  assert.equal(one.peek('k').remaining, 2)
  assert.equal(takeAll(Array(16).fill(good)).verdicts.length, 16)
})

test('a getter in a request may close the region: an answer, or an error that says so', () => {
  const region = forebay.privateRegion()
  const limiter = region.limiter('l', '2/s')
  const key = ['a', 'b']
  Object.defineProperty(key, 1, { get: () => (region.close(), 'b') })
  assert.equal(forebay.takeAll([{ limiter, key: 'a' }, { limiter, key }]).allowed, true)
  refused(() => forebay.takeAll([{ limiter, key }]), forebay.ForebayError, /the limiter is closed/, 'FB_E_CLOSED')
})

test('headers are made of verdicts, known styles and names of printable ASCII', () => {
  const { headers } = forebay
  const verdict = limiter.peek('headers')
  for (const limits of [undefined, null, {}, 'x', [5], [[]], [['a']], [['a', verdict, 'k', 1]], verdict]) {
    refused(() => headers(limits), TypeError, /^limits: got .*\[name, verdict\]/)
  }
  refused(() => headers([[5, verdict]]), TypeError, /^name: got a number/)
  for (const name of ['naïve', 'a\r\nSet-Cookie: x', '\0']) {
    refused(() => verdict.headers(name), RangeError, /^name: got .*printable ASCII/)
  }
  for (const other of [undefined, null, true, 'verdict', []]) {
    refused(() => headers([['a', other]]), TypeError, /^verdict: got .*; allowed: a Verdict/)
  }
  for (const key of [null, 5, {}, true]) {
    refused(() => headers([['a', verdict, key]]), TypeError, /^key: got .*; allowed: a string, a Uint8Array/)
  }
  refused(() => headers([['a', verdict, []]]), RangeError, /^key: got an array without parts/)
  const fields = { ...verdict }
  const others = {
    allowed: [undefined, 1, 'true'],
    limit: [undefined, -1, 1.5, NaN, '1', null],
    remaining: [undefined, -1, NaN, 1n],
    retryAfter: [undefined, -1, NaN, Infinity, '1'],
    resetAfter: [undefined, null, -1, NaN, Infinity],
    window: [undefined, null, -1, NaN, 2 ** 70],
  }
  for (const [field, values] of Object.entries(others)) {
    for (const value of values) {
      const message = new RegExp(`^verdict: got an object whose ${field} is not a verdict's; allowed: a Verdict`)
      refused(() => headers([['a', { ...fields, [field]: value }]]), TypeError, message)
    }
  }
  for (const style of ['', 'draft-9', 'Legacy']) {
    refused(() => headers([['a', verdict]], style), RangeError, /^style: got .*legacy-delta/)
    refused(() => headers([['a', verdict]], ['legacy', style]), RangeError, /^style: got .*draft-10/)
  }
  for (const styles of [null, 5, {}]) {
    refused(() => headers([['a', verdict]], styles), TypeError, /^styles: got/)
  }
  refused(() => headers([['a', verdict]], [5]), TypeError, /^style: got a number/)
  for (const now of [-1, NaN, Infinity, new Date(NaN)]) {
    refused(() => headers([['a', verdict]], 'legacy', now), RangeError, /^now: got/)
  }
  for (const now of [null, '5', 5n]) {
    refused(() => headers([['a', verdict]], 'legacy', now), TypeError, /^now: got/)
  }
})

test("a client's address is an address, and its options are known", () => {
  const { clientAddress } = forebay
  for (const peer of ['', 'localhost', '1.2.3', '[::1', '1.2.3.4:99999', '\0']) {
    refused(() => clientAddress(peer), RangeError, /^address: got .*IPv4 or IPv6/)
  }
  for (const peer of [undefined, null, 5, {}]) {
    refused(() => clientAddress(peer), TypeError, /^peer: got .*a string/)
  }
  const behind = (options) => () => clientAddress('10.0.0.1', options)
  refused(behind(null), TypeError, /^options: got null/)
  refused(behind({ trustProxy: 1 }), TypeError, /"trustProxy"; allowed: forwardedFor/)
  refused(behind({ forwardedFor: 5 }), TypeError, /^forwardedFor: got a number/)
  refused(behind({ forwardedFor: ['1.1.1.1', null] }), TypeError, /^forwardedFor: got null/)
  refused(behind({ trustedHops: '1' }), TypeError, /^trustedHops: got a string/)
  for (const trustedHops of [-1, 0.5, NaN, Infinity]) {
    refused(behind({ trustedHops }), RangeError, /^trustedHops: got/)
  }
  for (const ipv6Prefix of [-1, 0.5, NaN]) {
    refused(behind({ ipv6Prefix }), RangeError, /^ipv6Prefix: got/)
  }
  for (const ipv6Prefix of [129, 256, 2 ** 40]) {
    refused(behind({ ipv6Prefix }), RangeError, /^ipv6_prefix: got \d+; allowed: 0 to 128/)
  }
})

test('a rate is text or its parts', () => {
  for (const rate of ['', 'x', '1/fortnight', '-1/s', '1/s burst', 'NaN/s']) {
    refused(() => region.limiter('r', rate), RangeError, /./)
    refused(() => region.limiter('r', { rate }), RangeError, /./)
    refused(() => region.limiter('r', { rate: '1/s', tiers: { pro: rate } }), RangeError, /./)
  }
  refused(() => region.limiter('r', 5), TypeError, /^options: got a number/)
  refused(() => region.limiter('r', null), TypeError, /^options: got null/)
  refused(() => region.limiter('r', {}), TypeError, /^rate: got undefined/)
  refused(() => region.limiter('r', { rate: 5 }), TypeError, /^per: got undefined/)
  refused(() => region.limiter('r', { rate: 1.5, per: '1s' }), RangeError, /^rate: got 1.5/)
  refused(() => region.limiter('r', { rate: '1/s', per: '1s' }), RangeError, /^per: got/)
  refused(() => region.limiter('r', { rate: '1/s', burst: -1 }), RangeError, /^burst: got -1/)
  refused(() => region.limiter('r', { rate: '1/s', tiers: [] }), TypeError, /^tiers: got an array/)
  refused(() => region.limiter('r', { rate: '1/s', tiers: { a: 1 } }), TypeError, /^options: got/)
  refused(() => region.limiter('r', { rate: '1/s', maxkeys: 1 }), TypeError, /"maxkeys"; allowed: .*maxKeys/)
})

test('several rates are one to four, each with its own burst', () => {
  const text = Array(5).fill('1/s')
  for (const rate of [[], text, text.join(' and '), ['1/s', 'unlimited'], '1/s and unlimited']) {
    refused(() => region.limiter('r', rate), RangeError, /^rate: got/)
    refused(() => region.limiter('r', { rate }), RangeError, /^rate: got/)
    refused(() => region.limiter('r', { rate: '1/s', tiers: { pro: rate } }), RangeError, /^rate: got/)
  }
  refused(() => region.limiter('r', Array(1e6)), RangeError, /^rate: got 1000000 rates; allowed: 1 to 4 rates/)
  for (const rate of ['1/s and', ['1/s and 2/min'], ['x'], ['1/s', '']]) {
    refused(() => region.limiter('r', rate), RangeError, /^rate: got/)
  }
  for (const part of [undefined, {}, { rate: ['1/s'] }, { rate: null }]) {
    refused(() => region.limiter('r', ['1/s', part]), TypeError, /^rate: got/)
  }
  for (const part of [5, null, ['1/s']]) {
    refused(() => region.limiter('r', ['1/s', part]), TypeError, /^options: got/)
  }
  refused(() => region.limiter('r', ['1/s', { rate: '1/s', tiers: {} }]), TypeError, /"tiers"; allowed: rate, per, burst/)
  for (const rate of [['1/s', '2/min'], '1/s and 2/min']) {
    refused(() => region.limiter('r', { rate, burst: 5 }), RangeError, /^burst: got one beside several rates/)
    refused(() => region.limiter('r', { rate, per: '1s' }), RangeError, /^per: got one beside several rates/)
  }
  assert.throws(() => region.limiter('r'), { code: 'FB_E_NOT_FOUND' })
})

test('the other options of a limiter have known names, types and values', () => {
  const of = (options) => () => region.limiter('r', { rate: '1/s', ...options })
  for (const value of ['', 'gcra', 'Bucket', 'strict']) {
    refused(of({ algorithm: value }), RangeError, /^algorithm: got ".*"; allowed: bucket, fixed, sliding$/)
    refused(of({ onError: value }), RangeError, /^on_error: got ".*"; allowed: deny, allow$/)
  }
  refused(of({ onFull: 'fair' }), RangeError, /^on_full: got "fair"; allowed: lenient, strict$/)
  for (const value of [null, 5, true, {}]) {
    refused(of({ algorithm: value }), TypeError, /^algorithm: got/)
    refused(of({ onFull: value }), TypeError, /^onFull: got/)
    refused(of({ onError: value }), TypeError, /^onError: got/)
  }
  for (const value of [null, 0, 'true', {}]) {
    refused(of({ enabled: value }), TypeError, /^enabled: got/)
    refused(of({ showKeys: value }), TypeError, /^showKeys: got/)
  }
  for (const key of [undefined, 7, {}]) refused(() => limiter.mark(key), TypeError, /^key: got/)
  assert.throws(() => region.limiter('r'), { code: 'FB_E_NOT_FOUND' })
})

test('a window counter names the argument that is wrong, and changes nothing', () => {
  const hits = region.window('hits', { maxKeys: 1000 })
  hits.hit('k', '1m')
  const before = [hits.get('k'), hits.blockedFor('k'), hits.stats()]
  for (const key of [undefined, null, 7, {}]) {
    for (const verb of ['get', 'decrement', 'reset', 'blockedFor', 'unblock']) {
      refused(() => hits[verb](key), TypeError, /^key: got/)
    }
    refused(() => hits.hit(key, 1000), TypeError, /^key: got/)
    refused(() => hits.block(key, 1000), TypeError, /^key: got/)
  }
  for (const time of [-1, NaN, Infinity, 2 ** 64, '', '5', '-5m']) {
    refused(() => hits.hit('k', time), RangeError, /^window: got/)
    refused(() => hits.block('k', time), RangeError, /^time: got/)
  }
  for (const time of [0, 0.999, '2000d']) {
    refused(() => hits.hit('k', time), RangeError, /^window: got .*; allowed: a millisecond to/)
  }
  for (const time of [undefined, null, true, 5n, {}]) {
    refused(() => hits.hit('k', time), TypeError, /^window: got/)
    refused(() => hits.block('k', time), TypeError, /^time: got/)
  }
  for (const number of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    refused(() => hits.hit('k', 1000, { hits: number }), RangeError, /^hits: got/)
    refused(() => hits.hit('k', 1000, { limit: number }), RangeError, /^limit: got/)
    refused(() => hits.decrement('k', number), RangeError, /^hits: got/)
  }
  for (const number of ['1', null, 1n, {}]) {
    refused(() => hits.hit('k', 1000, { hits: number }), TypeError, /^hits: got/)
    refused(() => hits.hit('k', 1000, { limit: number }), TypeError, /^limit: got/)
    refused(() => hits.decrement('k', number), TypeError, /^hits: got/)
  }
  for (const options of [null, 5, [], 'x']) refused(() => hits.hit('k', 1000, options), TypeError, /^options: got/)
  refused(() => hits.hit('k', 1000, { Hits: 1 }), TypeError, /"Hits"; allowed: hits, limit/)
  refused(() => region.window('w', { maxkeys: 1 }), TypeError, /"maxkeys"; allowed: maxKeys/)
  refused(() => region.window('w', { maxKeys: 0 }), RangeError, /max_keys/)
  refused(() => region.window('w', { maxKeys: -1 }), RangeError, /^maxKeys: got -1/)
  refused(() => region.window('w', 5), TypeError, /^options: got a number/)
  assert.deepEqual([hits.get('k'), hits.blockedFor('k'), hits.stats()], before)
})

test('permits name the argument that is wrong, and change nothing', () => {
  const jobs = region.permits('jobs', { limit: 2 })
  const before = jobs.stats()
  for (const key of [undefined, null, 7, {}]) {
    for (const verb of ['tryAcquire', 'enforce', 'inUse']) {
      refused(() => jobs[verb](key), TypeError, /^key: got/)
    }
  }
  assert.deepEqual(jobs.stats(), before)
  const of = (options) => () => region.permits('p', options)
  refused(of({}), TypeError, /^limit: got undefined/)
  for (const limit of [0, 4097]) refused(of({ limit }), RangeError, /^limit: got \d+; allowed: 1 to 4096$/)
  for (const limit of [-1, 1.5, NaN, Infinity]) refused(of({ limit }), RangeError, /^limit: got/)
  for (const limit of ['1', null, 1n]) refused(of({ limit }), TypeError, /^limit: got/)
  for (const lease of [0, -1, NaN, '31d', 2 ** 60, '5']) refused(of({ limit: 1, lease }), RangeError, /^lease: got/)
  for (const lease of [null, true, {}]) refused(of({ limit: 1, lease }), TypeError, /^lease: got/)
  for (const maxLeases of [0, 2 ** 24 + 1]) refused(of({ limit: 1, maxLeases }), RangeError, /max_leases/)
  refused(of({ limit: 5, maxLeases: 2 }), RangeError, /limit|max_leases/)
  refused(of({ limit: 1, maxLeases: -1 }), RangeError, /^maxLeases: got -1/)
  for (const options of [null, 5, [], 'x']) refused(of(options), TypeError, /^options: got/)
  refused(of({ limit: 1, leases: 1 }), TypeError, /"leases"; allowed: limit, lease, maxLeases/)
  assert.throws(of(), { code: 'FB_E_NOT_FOUND' })
})

test('durations are milliseconds or text', () => {
  for (const ttl of [-1, NaN, Infinity, -1e-9, 2 ** 64]) {
    refused(() => cache.set('k', 'v', { ttl }), RangeError, /^ttl: got .*milliseconds/)
    refused(() => region.advance(ttl), RangeError, /^duration: got/)
  }
  for (const ttl of ['', '5', 'm', '5 fortnights', '-5m', '1e3s', '1.2.3s', 'Infinitys', '5m5s']) {
    refused(() => cache.set('k', 'v', { ttl }), RangeError, /^ttl: got ".*'5m'/)
  }
  for (const ttl of [true, {}, 5n, []]) {
    refused(() => cache.set('k', 'v', { ttl }), TypeError, /^ttl: got/)
  }
  const durations = { '250ms': 250, '1.5s': 1500, '5m': 300000, '2 min': 120000, '1h': 3600000, '1d': 86400000, 0.5: 0.5 }
  for (const [text, ms] of Object.entries(durations)) {
    assert.equal(cache.set('k', 'v', { ttl: Number.isNaN(Number(text)) ? text : Number(text) }), true)
    assert.equal(cache.entry('k').ttl, ms)
  }
  assert.equal(cache.set('k', 'v', { ttl: null }), true)
  assert.equal(cache.entry('k').ttl, null)
})

test('options have known names and types', () => {
  refused(() => forebay.privateRegion({ byte: 1 }), TypeError, /"byte"; allowed: bytes/)
  refused(() => forebay.privateRegion({ bytes: '1' }), TypeError, /^bytes: got a string/)
  refused(() => forebay.privateRegion({ bytes: 1 }), RangeError, /^bytes: got 1/)
  refused(() => forebay.privateRegion({ bytes: -1 }), RangeError, /^bytes: got -1/)
  refused(() => forebay.privateRegion({ manualClock: 1 }), TypeError, /^manualClock: got a number/)
  refused(() => forebay.privateRegion(7), TypeError, /^options: got a number/)
  refused(() => region.cache('c', { maxEntries: null }), TypeError, /^maxEntries: got null/)
  refused(() => region.cache('c', { bytes: 1 }), RangeError, /bytes/)
  refused(() => region.cache('c', { shards: 3 }), RangeError, /shards/)
  refused(() => region.breaker('b', { failureRate: '1' }), TypeError, /^failureRate: got a string/)
  for (const failureRate of [NaN, -0.1, 0, 1.1]) {
    refused(() => region.breaker('b', { failureRate }), RangeError, /failure_rate/)
  }
  refused(() => region.breaker('b', { failureThreshold: 2 ** 32 }), RangeError, /failureThreshold/)
  refused(() => region.breaker('b', { window: 1 }), RangeError, /window/)
  refused(() => cache.set('k', 'v', { TTL: 1 }), TypeError, /"TTL"; allowed: ttl/)
  refused(() => cache.set('k', 'v', '5m'), TypeError, /^options: got a string/)
  refused(() => cache.set('k', 'v', null), TypeError, /^options: got null/)
})

test('names of objects are checked, and so are their kinds and sizes', () => {
  for (const name of [undefined, 1, null, {}]) {
    refused(() => region.cache(name), TypeError, /^name: got/)
    refused(() => region.histogram(name), TypeError, /^name: got/)
    refused(() => region.window(name), TypeError, /^name: got/)
    refused(() => region.permits(name, { limit: 1 }), TypeError, /^name: got/)
  }
  for (const name of ['', 'a\0b', 'x'.repeat(49)]) {
    refused(() => region.cache(name), RangeError, /^name: got/)
  }
  const { ForebayError } = forebay
  refused(() => region.cache('limiter', {}), ForebayError, /is a limiter, not a cache/, 'FB_E_WRONG_KIND')
  refused(() => region.cache('limiter'), ForebayError, /is a limiter, not a cache/, 'FB_E_WRONG_KIND')
  refused(() => region.window('limiter'), ForebayError, /is a limiter, not a window/, 'FB_E_WRONG_KIND')
  refused(() => region.cache('cache', { bytes: 2 << 20 }), ForebayError, /asked for 2097152/, 'FB_E_GEOMETRY')
  refused(() => region.limiter('absent'), ForebayError, /does not exist/, 'FB_E_NOT_FOUND')
  refused(() => region.cache('big', { bytes: 1 << 30 }), ForebayError, /region full/, 'FB_E_REGION_FULL')
})

test('names and paths of regions are checked', () => {
  const { ForebayError, open } = forebay
  refused(() => open(), TypeError, /^name: got undefined/)
  refused(() => open(5), TypeError, /^name: got a number/)
  for (const name of ['', 'a b', 'x'.repeat(49), 'a\0']) {
    refused(() => open(name), RangeError, /./)
  }
  refused(() => open('/tmp/a\0b'), RangeError, /NUL/)
  refused(() => open('/no such directory/x'), ForebayError, /./, 'FB_E_IO')
  refused(() => open('absent', { create: false }), ForebayError, /does not exist/, 'FB_E_NOT_FOUND')
  refused(() => open('x', { mode: 0o666 }), RangeError, /^mode: got 666/)
})

test('values that JSON cannot write are refused, with the cause', () => {
  const cycle = {}
  cycle.cycle = cycle
  for (const value of [undefined, () => {}, Symbol('a'), 1n, cycle, { n: 1n }]) {
    refused(() => cache.set('k', value), TypeError, /^value: got .*what JSON can write/)
  }
  const mine = new Error('mine')
  const value = {
    toJSON() {
      throw mine
    },
  }
  assert.throws(() => cache.set('k', value), { code: 'FB_E_INVALID_ARGUMENT', cause: mine })
})

test('a value tagged as JSON that is none is an error with a code', () => {
  const { native } = require('../lib/native.js')
  const raw = native.privateRegion().cache('c', {})
  assert.equal(raw.set('k', '{', native.codecs.json, undefined), true)
  // The class over the same functions.
  const { Cache } = require('../lib/cache.js')
  const { KEY } = require('../lib/native.js')
  refused(() => new Cache(KEY, 'c', raw).get('k'), forebay.ForebayError, /JSON/, 'FB_E_CORRUPT')
})

test('a value too large is not stored, and no error', () => {
  assert.equal(cache.set('k', 'old'), true)
  assert.equal(cache.set('k', Buffer.alloc(2 << 20)), false)
  assert.equal(cache.get('k'), undefined)
  assert.equal(cache.stats().tooLarge, 1)
})

test('what is recorded is a duration', () => {
  for (const ms of [-1, NaN, Infinity, -Infinity, 2 ** 64]) {
    refused(() => histogram.record(ms), RangeError, /^duration: got/)
  }
  for (const ms of ['1', null, undefined, 1n, {}]) {
    refused(() => histogram.record(ms), TypeError, /^duration: got/)
  }
  for (const ns of [-1, 1.5, NaN, -1n]) {
    refused(() => histogram.recordNs(ns), RangeError, /^duration: got/)
  }
  refused(() => histogram.recordNs('1'), TypeError, /^duration: got a string/)
  assert.equal(histogram.snapshot().count, 0)
  histogram.recordNs(2n ** 80n)
  histogram.recordNs(2 ** 70)
  assert.equal(histogram.snapshot().count, 2)
  for (const percent of [-1, 101, NaN, Infinity]) {
    refused(() => histogram.percentile(percent), RangeError, /^percent: got/)
    refused(() => histogram.snapshot().percentile(percent), RangeError, /^percent: got/)
  }
  refused(() => histogram.percentile(), TypeError, /^percent: got undefined/)
  refused(() => histogram.time(), TypeError, /^f: got undefined/)
})

test('a breaker is called with a function and known options', () => {
  refused(() => breaker.call(), TypeError, /^f: got undefined/)
  refused(() => breaker.call(() => 1, 5), TypeError, /^options: got a number/)
  refused(() => breaker.call(() => 1, { fallBack: 1 }), TypeError, /"fallBack"; allowed/)
  refused(() => breaker.call(() => 1, { fallback: 1 }), TypeError, /^fallback: got a number/)
  refused(() => breaker.call(() => 1, { signal: {} }), TypeError, /^signal: got an object/)
  assert.equal(breaker.stats().successes, 0)
})

test('objects are made by the region only', () => {
  for (const name of ['Region', 'Limiter', 'Reservation', 'Cache', 'Breaker', 'Permit', 'Histogram', 'Snapshot', 'WindowCounter', 'Permits', 'Lease']) {
    refused(() => new forebay[name](), TypeError, /a constructor call/)
  }
  const { allow } = forebay.Limiter.prototype
  assert.throws(() => allow.call({}, 'k'), TypeError)
})

test('after close everything answers that it is closed, and closing again is nothing', () => {
  const region = forebay.privateRegion()
  const limiter = region.limiter('l', '1/s')
  const cache = region.cache('c', { bytes: 65536 })
  const breaker = region.breaker('b')
  const histogram = region.histogram('h')
  const window = region.window('w')
  const permits = region.permits('p', { limit: 1 })
  const lease = permits.enforce('k')
  const permit = breaker.enter()
  const stop = histogram.start()
  limiter.take('k')
  const reservation = limiter.reserve('k', '1s')
  region.close()
  region.close()
  const closed = (f, what) =>
    refused(f, forebay.ForebayError, new RegExp(`the ${what} is closed`), 'FB_E_CLOSED')
  closed(() => region.now(), 'region')
  closed(() => region.limiter('l'), 'region')
  closed(() => region.stats(), 'region')
  closed(() => limiter.allow('k'), 'limiter')
  closed(() => limiter.take('k'), 'limiter')
  closed(() => limiter.block('k', 1), 'limiter')
  closed(() => limiter.reserve('k', 1), 'limiter')
  closed(() => forebay.takeAll([{ limiter, key: 'k' }]), 'limiter')
  closed(() => reservation.wait, 'limiter')
  closed(() => reservation.cancel(), 'limiter')
  closed(() => cache.get('k'), 'cache')
  closed(() => cache.set('k', 'v'), 'cache')
  closed(() => cache.size, 'cache')
  closed(() => breaker.enter(), 'breaker')
  closed(() => breaker.state, 'breaker')
  closed(() => histogram.record(1), 'histogram')
  closed(() => limiter.clear(), 'limiter')
  closed(() => limiter.topRefused(), 'limiter')
  closed(() => limiter.tierStats(), 'limiter')
  closed(() => window.hit('k', 1000), 'window counter')
  closed(() => window.get('k'), 'window counter')
  closed(() => permits.tryAcquire('k'), 'permits object')
  closed(() => permits.inUse('k'), 'permits object')
  closed(() => region.window('w'), 'region')
  assert.deepEqual([lease.renew(), lease.endsIn, lease.release()], [false, 0, false])
  assert.equal(permit.success(), false)
  assert.equal(typeof stop(), 'number')
})

test('closing while a call is under way leaves its answer alone', async () => {
  const region = forebay.privateRegion()
  const breaker = region.breaker('b')
  const histogram = region.histogram('h')
  const answer = breaker.call(() => Promise.resolve('answer'))
  assert.equal(histogram.time(() => breaker.call(() => (region.close(), 'kept'))), 'kept')
  assert.equal(await answer, 'answer')
})

const BAD_FILES = process.env.FOREBAY_BAD_FILES
test('each bad file is its own error', { skip: !BAD_FILES && 'FOREBAY_BAD_FILES is not set' }, () => {
  const rows = fs
    .readFileSync(path.join(BAD_FILES, 'manifest.tsv'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('\t'))
    .filter(([file]) => file !== 'file')
  assert.ok(rows.length > 0)
  for (const [file, , code, message] of rows) {
    const at = path.join(path.resolve(BAD_FILES), file)
    assert.throws(
      () => forebay.open(at),
      (error) => {
        assert.equal(error.code, code, file)
        assert.equal(error.message, message.replaceAll('{path}', at), file)
        return true
      },
    )
  }
})
