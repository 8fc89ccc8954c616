'use strict'

// What the verbs do beyond the table of vectors: JavaScript's own values,
// promises, exceptions and garbage collection.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { setFlagsFromString } = require('node:v8')
const { runInNewContext } = require('node:vm')
const { open, privateRegion, takeAll, headers, clientAddress } = require('forebay')
const { BreakerOpen, ForebayError, Limited, Verdict } = require('forebay')

const newRegion = () => privateRegion({ bytes: 8 << 20, manualClock: true })

test('a limiter takes its rate as text or as parts', () => {
  const region = privateRegion({ manualClock: true })
  const rates = {
    text: '2/min burst 3',
    'text in an object': { rate: '2/min burst 3' },
    'burst beside text': { rate: '2/min', burst: 3 },
    numbers: { rate: 2, per: 60000, burst: 3 },
    'a number and text': { rate: 2, per: '1m', burst: 3 },
  }
  for (const [name, rate] of Object.entries(rates)) {
    const limiter = region.limiter(name, rate)
    assert.equal(limiter.name, name)
    assert.equal(limiter.take('k').limit, 3)
    assert.deepEqual([limiter.allow('k'), limiter.allow('k'), limiter.allow('k')], [true, true, false])
    region.advance('30s')
    assert.deepEqual([limiter.allow('k'), limiter.allow('k')], [true, false])
  }
})

test('several rates are text or an array, and all must be kept to', () => {
  const region = privateRegion({ bytes: 64 << 20, manualClock: true })
  const rates = {
    text: '2/s and 3/min',
    'text in an object': { rate: '2/s and 3/min' },
    array: ['2/s', '3/min'],
    parts: [{ rate: 2, per: 1000 }, { rate: '3/min', burst: 3 }],
    'an array in an object': { rate: ['2/s', { rate: 3, per: '1m' }] },
    'the tier': { rate: '9/s', tiers: { t: '2/s and 3/min' } },
    'the tier as an array': { rate: '9/s and 9/min', tiers: { t: ['2/s', '3/min'] } },
    'the tier in an object': { rate: '9/s', tiers: { t: { rate: ['2/s', '3/min'] } } },
  }
  for (const [name, rate] of Object.entries(rates)) {
    const limiter = region.limiter(name, rate)
    const allowed = () => limiter.allow('k', 1, name.startsWith('the tier') ? 't' : undefined)
    assert.deepEqual([allowed(), allowed(), allowed()], [true, true, false], name)
    region.advance('1s')
    assert.deepEqual([allowed(), allowed()], [true, false], name)
  }
})

test('a limiter is opened with an algorithm and switches', () => {
  const region = newRegion()
  const logins = region.limiter('logins', { rate: '2/15min', algorithm: 'sliding', onFull: 'strict', maxKeys: 100 })
  assert.deepEqual([logins.allow('k'), logins.allow('k'), logins.allow('k')], [true, true, false])
  assert.throws(() => region.limiter('logins', { rate: '2/15min', algorithm: 'fixed' }), { code: 'FB_E_GEOMETRY' })
  assert.throws(() => region.limiter('logins', { rate: '2/15min', onFull: 'lenient' }), { code: 'FB_E_GEOMETRY' })
  // Not told: as they are.
  region.limiter('logins', { rate: '2/15min', enabled: false, onError: 'allow' })
  assert.equal(logins.allow('k'), true)
  region.limiter('logins', '2/15min')
  assert.equal(logins.allow('k'), false)
  logins.clear()
  assert.equal(logins.peek('k').remaining, 2)
})

test('who is refused most is told, the key if it may be', () => {
  const region = newRegion()
  const quiet = region.limiter('quiet', '1/s')
  quiet.allow('k')
  quiet.allow('k')
  assert.deepEqual(quiet.topRefused(), [{ mark: quiet.mark('k'), count: 1, over: 0, key: null }])
  assert.match(quiet.mark('k'), /^[0-9a-f]{16}$/)
  const open = region.limiter('open', { rate: '1/h', showKeys: true })
  const bytes = Buffer.from([0xff, 0])
  for (const key of ['ä', 'ä', 'ä', bytes, bytes, 'x'.repeat(48), 'x'.repeat(48)]) open.allow(key)
  const top = open.topRefused()
  assert.deepEqual([top[0].key, top[0].count], ['ä', 2])
  assert.deepEqual(top.find(({ mark }) => mark === open.mark(bytes)).key, bytes)
  assert.equal(top.find(({ mark }) => mark === open.mark('x'.repeat(48))).key, null)
  open.forgetRefused()
  assert.deepEqual(open.topRefused(), [])
})

test('each tier has its figures', () => {
  const name = 'ä'.repeat(15) + 'b' // 31 bytes, the longest
  const limiter = newRegion().limiter('api', { rate: '2/min', tiers: { pro: '5/min', [name]: 'unlimited' } })
  for (const tier of [undefined, undefined, undefined, 'nobody']) limiter.allow('a', 1, tier)
  limiter.allow('b', 1, name)
  limiter.penalize('c', 6, 'pro')
  assert.deepEqual(limiter.tierStats(), [
    { tier: 'default', admitted: 2, refused: 2, debts: 0 },
    { tier: 'pro', admitted: 0, refused: 0, debts: 1 },
    { tier: name, admitted: 1, refused: 0, debts: 0 },
  ])
  const { admitted, refused, debts } = limiter.stats()
  assert.deepEqual([admitted, refused, debts], [3, 2, 1])
})

test('a verdict is a value of its own', () => {
  const limiter = newRegion().limiter('l', { rate: '1/s burst 2', tiers: { admin: 'unlimited' } })
  const first = limiter.take('k')
  const second = limiter.take('k')
  const third = limiter.take('k')
  assert.ok(first instanceof Verdict)
  assert.deepEqual(
    { ...first },
    { allowed: true, limit: 2, remaining: 1, retryAfter: null, resetAfter: 1000, window: 2000 },
  )
  assert.equal(second.remaining, 0)
  assert.deepEqual(
    { ...third },
    { allowed: false, limit: 2, remaining: 0, retryAfter: 1000, resetAfter: 2000, window: 2000 },
  )
  assert.deepEqual(
    { ...limiter.take('k', 5, 'admin') },
    { allowed: true, limit: Infinity, remaining: Infinity, retryAfter: null, resetAfter: 0, window: 0 },
  )
  assert.equal(limiter.reset('k'), true)
  assert.equal(limiter.peek('k').remaining, 2)
})

test('tokens are given back, and taken beyond what is there', () => {
  const limiter = newRegion().limiter('l', { rate: '1/s burst 5', tiers: { pro: '10/s burst 10' } })
  limiter.take('k', 5)
  const back = limiter.refund('k')
  assert.ok(back instanceof Verdict)
  assert.deepEqual([back.allowed, back.remaining], [true, 1])
  assert.equal(limiter.refund('k', 2).remaining, 3)
  // A tenth of a token, by the tier's rate.
  assert.equal(limiter.refund('k', undefined, 'pro').limit, 10)
  assert.deepEqual([limiter.peek('k').remaining, limiter.peek('k').resetAfter], [3, 1900])
  assert.equal(limiter.refund('k', 100).remaining, 5)
  assert.equal(limiter.penalize('k').remaining, 4)
  const debt = limiter.penalize('k', 6)
  assert.deepEqual([debt.allowed, debt.remaining, debt.retryAfter], [false, 0, 3000])
})

test('a block refuses until it ends', () => {
  const region = newRegion()
  const limiter = region.limiter('l', { rate: '1/s burst 5', tiers: { staff: 'unlimited' } })
  assert.equal(limiter.block('k', '10s'), undefined)
  limiter.block('k', 2000)
  assert.deepEqual([limiter.allow('k'), limiter.allow('k', 1, 'staff')], [false, false])
  assert.equal(limiter.take('k').retryAfter, 10000)
  assert.deepEqual([limiter.unblock('k'), limiter.unblock('k'), limiter.allow('k')], [true, false, true])
  limiter.block('k', '10s')
  region.advance('10s')
  assert.equal(limiter.allow('k'), true)
})

test('what is enforced is a verdict, or an error with one', () => {
  const limiter = newRegion().limiter('logins', '2/min')
  assert.equal(limiter.enforce('k').remaining, 1)
  assert.ok(limiter.enforce('k', 1) instanceof Verdict)
  assert.throws(
    () => limiter.enforce('k'),
    (error) => {
      assert.ok(error instanceof Limited && error instanceof ForebayError)
      assert.deepEqual(
        [error.name, error.code, error.limiter, error.message],
        ['Limited', 'FB_DENIED', 'logins', "limiter 'logins' refused: retry after 30s"],
      )
      assert.deepEqual(error.verdict, limiter.peek('k'))
      assert.deepEqual(error.headers('draft-10'), [
        ['RateLimit-Policy', '"logins";q=2;w=60'],
        ['RateLimit', '"logins";r=0;t=30'],
        ['Retry-After', '30'],
      ])
      assert.deepEqual(error.headers('legacy', 0)[2], ['X-RateLimit-Reset', '60'])
      return true
    },
  )
})

test('several limits admit together or not at all', () => {
  const region = newRegion()
  const each = region.limiter('each', { rate: '2/s', tiers: { staff: 'unlimited' } })
  const all = region.limiter('all', '3/min')
  const ask = (key, rest) => takeAll([{ limiter: each, key, ...rest }, { limiter: all, key: '' }])
  const { allowed, verdicts } = ask(['tenant', 7])
  assert.equal(allowed, true)
  assert.ok(verdicts.every((verdict) => verdict instanceof Verdict))
  assert.deepEqual(verdicts.map(({ limit, remaining, window }) => [limit, remaining, window]), [[2, 1, 1000], [3, 2, 60000]])
  assert.equal(ask(Buffer.from('b'), { cost: 3 }).allowed, false)
  const third = ask('c', { cost: 1e6, tier: 'staff' })
  assert.deepEqual([third.allowed, third.verdicts[0].remaining, third.verdicts[1].remaining], [true, Infinity, 1])
  ask('d')
  const last = ask('e')
  assert.deepEqual(last.verdicts.map(({ allowed }) => allowed), [true, false])
  assert.deepEqual([each.peek('e').remaining, all.peek('').retryAfter], [2, last.verdicts[1].retryAfter])
  assert.deepEqual(takeAll([]), { allowed: true, verdicts: [] })
  // Of another region as well.
  const other = newRegion().limiter('each', '1/s')
  assert.equal(takeAll([{ limiter: other, key: 'f' }, { limiter: each, key: 'f' }]).allowed, true)
  assert.equal(other.allow('f'), false)
})

test('limiters that come and go are told apart', () => {
  const region = newRegion()
  const kept = region.limiter('kept', { rate: '5/s', maxKeys: 64 })
  for (let i = 0; i < 5000; i += 1) region.limiter('kept')
  assert.equal(takeAll([{ limiter: kept, key: 'k' }]).verdicts[0].remaining, 4)
})

test('headers are pairs that a Headers takes', () => {
  const limiter = newRegion().limiter('api', '5/min')
  const verdict = limiter.take('k', 5)
  const told = headers([['api', verdict], ['none', limiter.take('k')]], ['draft-10', 'legacy-delta'])
  const sent = new Headers(told)
  assert.equal(sent.get('ratelimit-policy'), '"api";q=5;w=60, "none";q=5;w=60')
  assert.equal(sent.get('retry-after'), '12')
  assert.deepEqual(headers([['api', verdict]], undefined, 1500), verdict.headers('api', 'legacy', new Date(1500)))
  assert.deepEqual(verdict.headers('api', [], 0), [])
  const policy = (...limit) => headers([['api', verdict, ...limit]], 'draft-10')[0][1]
  assert.equal(policy('foo'), `${policy()};pk=:MmMyNmI0NmI2OGZm:`)
  assert.equal(policy(Buffer.from('foo')), policy('foo'))
  assert.equal(policy(undefined), policy())
  assert.notEqual(policy(['a', 1]), policy(['a', 2]))
  // The wall clock, unless told.
  const reset = Number(verdict.headers('api')[2][1])
  assert.ok(Math.abs(reset - 60 - Date.now() / 1000) < 5)
  // A verdict that came from another thread has the fields alone.
  assert.deepEqual(headers([['api', structuredClone({ ...verdict })]], 'draft-7'), verdict.headers('api', 'draft-7'))
})

test('a client is counted by the address that our proxies saw', () => {
  const headers = { forwardedFor: '6.6.6.6, 203.0.113.9', trustedHops: 1 }
  assert.equal(clientAddress('10.0.0.1:80'), '10.0.0.1')
  assert.equal(clientAddress('10.0.0.1', headers), '203.0.113.9')
  assert.equal(clientAddress('10.0.0.1', { ...headers, forwardedFor: ['6.6.6.6', '203.0.113.9'] }), '203.0.113.9')
  assert.equal(clientAddress('10.0.0.1', { forwardedFor: undefined, trustedHops: 2 }), '10.0.0.1')
  assert.equal(clientAddress('10.0.0.1', { ...headers, trustedHops: Number.MAX_SAFE_INTEGER }), '6.6.6.6')
  assert.equal(clientAddress('2001:db8::1', { ipv6Prefix: 128 }), '2001:db8::1/128')
})

test('a newer rate applies to handles that are already open', () => {
  const region = newRegion()
  const before = region.limiter('l', '1/s')
  region.limiter('l', '5/s')
  assert.equal(before.peek('k').limit, 5)
  assert.equal(region.limiter('l').peek('k').limit, 5)
})

test('a cache gives back what it was given', () => {
  const cache = newRegion().cache('c', { bytes: 2 << 20, maxItem: 200000 })
  const values = [
    '', 'text', 'täxt ☃ 𝄞', 'a\0b', '\ud800 alone', 'x'.repeat(100000), 'ü'.repeat(40000),
    0, -1.5, true, false, null, [], {}, [1, [2, { three: '3' }]], { text: 'ü', nothing: null },
    Buffer.alloc(0), Buffer.from([0, 1, 255]), Buffer.alloc(65536, 1), Buffer.alloc(65537, 2),
    Buffer.alloc(100000, 3),
  ]
  for (const value of values) {
    assert.equal(cache.set('k', value), true)
    assert.deepEqual(cache.get('k'), value)
    assert.deepEqual(cache.entry('k').value, value)
  }
  assert.equal(cache.set('k', new Uint8Array([1, 2])), true)
  assert.deepEqual(cache.get('k'), Buffer.from([1, 2]))
  assert.equal(cache.get('absent'), undefined)
  assert.equal(cache.getBytes('absent'), undefined)
  assert.equal(cache.entry('absent'), undefined)
})

test('bytes that were given out do not change with the next read', () => {
  const cache = newRegion().cache('c', { bytes: 1 << 20 })
  cache.set('a', Buffer.from('aaaa'))
  cache.set('b', Buffer.from('bbbb'))
  const a = cache.get('a')
  const b = cache.getBytes('b')
  assert.deepEqual([a.toString(), b.toString()], ['aaaa', 'bbbb'])
  a.fill('x')
  assert.equal(cache.get('a').toString(), 'aaaa')
})

test('an entry tells its codec, its version and its times', () => {
  const region = newRegion()
  const cache = region.cache('c', { bytes: 1 << 20, ttl: '10s' })
  const before = new Date()
  cache.set('k', { a: 1 })
  region.advance('2s')
  const first = cache.entry('k')
  assert.equal(first.codec, 'json')
  assert.equal(first.ttl, 8000)
  assert.ok(Math.abs(first.created - before) < 60000)
  cache.set('k', 'text', { ttl: null })
  const second = cache.entry('k')
  assert.equal(second.codec, 'text')
  assert.equal(second.ttl, null)
  assert.ok(second.version > first.version)
  assert.equal(second.created - first.created, 2000)
  region.advance('10s')
  assert.equal(cache.get('k'), 'text')
})

test('a cache counts what it did', () => {
  const cache = newRegion().cache('c', { bytes: 1 << 20 })
  cache.set('k', 'v')
  cache.get('k')
  cache.get('k')
  cache.get('absent')
  cache.get('absent')
  const stats = cache.stats()
  assert.deepEqual([stats.hits, stats.misses, stats.sets, stats.hitRate], [2, 2, 1, 0.5])
  assert.equal(cache.size, 1)
  assert.equal(cache.delete('k'), true)
  assert.equal(cache.has('k'), false)
  cache.set('k', 'v')
  cache.clear()
  assert.equal(cache.size, 0)
})

test('statistics have what index.d.ts says, and nothing else', () => {
  const types = fs.readFileSync(path.join(__dirname, '..', 'index.d.ts'), 'utf8')
  const region = newRegion()
  const told = {
    RegionStats: region.stats(),
    LimiterStats: region.limiter('l', '1/s').stats(),
    CacheStats: region.cache('c', { bytes: 1 << 20 }).stats(),
    BreakerStats: region.breaker('b').stats(),
    WindowStats: region.window('w').stats(),
    PermitsStats: region.permits('p', { limit: 1 }).stats(),
  }
  const [{ tier, ...TierStats }] = region.limiter('l').tierStats()
  assert.equal(tier, 'default')
  told.TierStats = TierStats
  for (const [name, stats] of Object.entries(told)) {
    const [, body] = types.split(`export interface ${name} {`)
    const declared = [...body.split('\n}', 1)[0].matchAll(/^ {2}(\w+): number$/gm)].map(([, field]) => field)
    assert.deepEqual(Object.keys(stats), declared)
    for (const figure of Object.values(stats)) assert.equal(typeof figure, 'number')
  }
})

test('without options a cache or breaker is attached to, or made with the defaults', () => {
  const region = privateRegion({ bytes: 16 << 20 })
  const small = region.cache('small', { bytes: 65536, ttl: '5m' })
  assert.equal(region.cache('small').stats().bytesCapacity, small.stats().bytesCapacity)
  region.cache('small').set('k', 'v')
  assert.ok(small.entry('k').ttl > 0)
  assert.ok(region.cache('new').stats().bytesCapacity > 1 << 20)
  region.breaker('quick', { failureThreshold: 1 })
  region.breaker('quick').enter().failure()
  assert.equal(region.breaker('quick').state, 'open')
  assert.equal(region.breaker('another').state, 'closed')
})

const boom = () => {
  throw new Error('boom')
}

function openBreaker(region, options) {
  const breaker = region.breaker('origin', { failureThreshold: 1, openFor: '1s', successThreshold: 1, ...options })
  assert.throws(() => breaker.call(boom), /boom/)
  assert.equal(breaker.state, 'open')
  return breaker
}

test('a breaker passes answers and exceptions through, and opens', () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 2, failureRate: null })
  assert.equal(breaker.call(() => 42), 42)
  assert.throws(() => breaker.call(boom), { message: 'boom' })
  assert.equal(breaker.state, 'closed')
  assert.throws(() => breaker.call(boom), { message: 'boom' })
  assert.equal(breaker.state, 'open')
  let called = false
  assert.throws(
    () => breaker.call(() => (called = true)),
    (error) => {
      assert.ok(error instanceof BreakerOpen && error instanceof ForebayError)
      assert.deepEqual([error.name, error.code, error.breaker, error.retryAfter], ['BreakerOpen', 'FB_REJECTED', 'origin', 60000])
      assert.match(error.message, /^breaker 'origin' is open: retry after 60s$/)
      return true
    },
  )
  assert.equal(called, false)
  const { successes, failures, rejected, opened } = breaker.stats()
  assert.deepEqual([successes, failures, rejected, opened], [1, 2, 1, 1])
})

test('a promise is reported when it settles', async () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 1 })
  let resolve
  const answer = breaker.call(() => new Promise((done) => (resolve = done)))
  assert.equal(breaker.stats().successes, 0)
  resolve('late')
  assert.equal(await answer, 'late')
  assert.equal(breaker.stats().successes, 1)
  await assert.rejects(breaker.call(async () => boom()), /boom/)
  assert.equal(breaker.state, 'open')
  assert.throws(() => breaker.call(async () => 1), BreakerOpen)
  await assert.rejects(breaker.exec(() => 1), BreakerOpen)
})

test('exec answers with a promise whatever the function does', async () => {
  const breaker = newRegion().breaker('origin')
  assert.equal(await breaker.exec(() => 1), 1)
  assert.equal(await breaker.exec(async () => 2), 2)
  await assert.rejects(breaker.exec(boom), /boom/)
  // A thenable of somebody else's.
  assert.equal(await breaker.exec(() => ({ then: (done) => done(3) })), 3)
})

test('the caller who gives up is not a failure of the callee', async () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 1 })
  const controller = new AbortController()
  const { signal } = controller
  const waiting = breaker.call(
    () => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    { signal },
  )
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  assert.equal(breaker.state, 'closed')
  assert.equal(breaker.stats().ignored, 1)
  // Another error is one, although the signal has fired.
  assert.throws(() => breaker.call(boom, { signal }), /boom/)
  assert.equal(breaker.state, 'open')
})

test('an AbortError that the caller did not ask for is a failure', async () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 1 })
  const abort = async () => {
    throw new DOMException('timeout inside', 'AbortError')
  }
  await assert.rejects(breaker.call(abort, { signal: new AbortController().signal }), { name: 'AbortError' })
  assert.equal(breaker.state, 'open')
})

test('a fallback answers for failures and rejections, and is told which', async () => {
  const region = newRegion()
  const breaker = region.breaker('origin', { failureThreshold: 1 })
  const fallback = (error) => error.code ?? error.message
  assert.equal(breaker.call(boom, { fallback }), 'boom')
  assert.equal(breaker.call(boom, { fallback }), 'FB_REJECTED')
  assert.equal(await breaker.exec(async () => 1, { fallback }), 'FB_REJECTED')
  region.advance('60s')
  assert.equal(await breaker.call(async () => boom(), { fallback }), 'boom')
})

test('a permit is given one word', () => {
  const region = newRegion()
  const breaker = openBreaker(region)
  assert.equal(breaker.tryEnter(), undefined)
  region.advance('1s')
  const probe = breaker.enter()
  assert.equal(breaker.state, 'half-open')
  assert.throws(() => breaker.enter(), BreakerOpen)
  assert.equal(probe.success(), true)
  assert.equal(breaker.state, 'closed')
  assert.deepEqual([probe.success(), probe.failure(), probe.ignore()], [false, false, false])
  assert.equal(breaker.state, 'closed')
})

test('a permit that is disposed without a word is a failure', { skip: !Symbol.dispose && 'no Symbol.dispose' }, () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 1 })
  const told = breaker.enter()
  told.success()
  told[Symbol.dispose]()
  assert.equal(breaker.state, 'closed')
  breaker.enter()[Symbol.dispose]()
  assert.equal(breaker.state, 'open')
})

// Ways to collect garbage and let the finalisers run; no time is waited.
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

async function collected(isDone) {
  for (let turn = 0; turn < 1000 && !isDone(); turn += 1) {
    gc()
    await new Promise((next) => setImmediate(next))
  }
  return isDone()
}

test('a permit that is collected without a word is a failure', async () => {
  const breaker = newRegion().breaker('origin', { failureThreshold: 1 })
  ;(() => void breaker.enter())()
  assert.ok(await collected(() => breaker.stats().failures === 1))
  assert.equal(breaker.state, 'open')
})

test('handles that are collected let go of the region', async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
  const file = path.join(directory, 'region')
  ;(() => {
    const region = open(file, { bytes: 1 << 20, ephemeral: true })
    assert.equal(region.cache('c', { bytes: 65536 }).set('k', 'v'), true)
    assert.equal(fs.existsSync(file), true)
  })()
  assert.ok(await collected(() => !fs.existsSync(file)))
  fs.rmSync(directory, { recursive: true })
})

test('a histogram times functions and promises, also those that fail', async () => {
  const histogram = newRegion().histogram('h')
  assert.equal(histogram.time(() => 'answer'), 'answer')
  assert.throws(() => histogram.time(boom), /boom/)
  assert.equal(await histogram.time(async () => 'later'), 'later')
  await assert.rejects(histogram.time(async () => boom()), /boom/)
  const stop = histogram.start()
  assert.ok(stop() >= 0)
  assert.equal(histogram.snapshot().count, 5)
})

test('a histogram records milliseconds and tells them', () => {
  const histogram = newRegion().histogram('h')
  assert.equal(histogram.percentile(50), undefined)
  assert.deepEqual({ ...histogram.snapshot() }, { count: 0, sum: 0, mean: 0, min: undefined, max: undefined, buckets: [] })
  for (let ms = 1; ms <= 100; ms += 1) histogram.record(ms)
  const snapshot = histogram.snapshot()
  histogram.record(1000)
  assert.deepEqual([snapshot.count, snapshot.sum, snapshot.mean, snapshot.min, snapshot.max], [100, 5050, 50.5, 1, 100])
  assert.ok(Math.abs(snapshot.percentile(50) - 50) < 50 * 0.011)
  assert.equal(snapshot.percentile(100), 100)
  assert.equal(histogram.percentile(100), 1000)
  assert.equal(snapshot.buckets.reduce((sum, { count }) => sum + count, 0), 100)
  assert.ok(snapshot.buckets.every(({ le }, i, all) => i === 0 || all[i - 1].le < le))
})

test('a region tells of windows and permits too', () => {
  const region = newRegion()
  region.window('w')
  region.permits('p', { limit: 1 })
  assert.deepEqual(region.objects().map(({ name, kind }) => [name, kind]), [['w', 'window'], ['p', 'permits']])
})

test('a region tells what is in it and what happened', () => {
  const region = newRegion()
  assert.deepEqual([region.path, region.isShared, region.bytes], [undefined, false, 8 << 20])
  assert.equal(region.now(), 0)
  region.advance(1.5)
  region.advance('1s')
  assert.equal(region.now(), 1001.5)
  openBreaker(region)
  assert.deepEqual(region.objects().map(({ name, kind }) => [name, kind]), [['origin', 'breaker']])
  assert.equal(region.stats().objects, 1)
  const { events, next, lost } = region.events()
  assert.deepEqual(events.map(({ kind }) => kind), ['object-created', 'breaker-open'])
  assert.deepEqual([events[1].object, events[1].time, lost], ['origin', 1001.5, 0])
  assert.deepEqual(region.events(next).events, [])
  assert.throws(() => privateRegion().advance(1), { code: 'FB_E_INVALID_ARGUMENT', name: 'RangeError' })
})

test('a region is closed at the end of its block', { skip: !Symbol.dispose && 'no Symbol.dispose' }, () => {
  const region = newRegion()
  region[Symbol.dispose]()
  assert.throws(() => region.now(), { code: 'FB_E_CLOSED' })
})
