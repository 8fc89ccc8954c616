'use strict'

// The storage under @nestjs/throttler's module and guard.

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { privateRegion } = require('forebay')
const { ForebayThrottlerStorage } = require('forebay/nestjs-throttler')
const { nest, ask, statuses } = require('./installed.js')

const newRegion = () => privateRegion({ bytes: 8 << 20, manualClock: true })
const told = ({ headers }, suffix = '') =>
  ['limit', 'remaining', 'reset'].map((name) => headers[`x-ratelimit-${name}${suffix}`])

test('beyond the limit a client is blocked, and starts anew after that', async (t) => {
  const region = newRegion()
  const storage = new ForebayThrottlerStorage({ region, name: 'throttler' })
  const throttlers = [{ ttl: 60_000, limit: 2, blockDuration: 10_000 }]
  const { url, close } = await nest({ throttlers, storage })
  t.after(close)
  assert.deepEqual(told(await ask(url)), ['2', '1', '60'])
  assert.deepEqual(told(await ask(url)), ['2', '0', '60'])
  const refused = await ask(url)
  assert.equal(refused.status, 429)
  assert.match(refused.headers['retry-after'], /^\d+$/)
  assert.equal(refused.headers['retry-after'], '10')
  region.advance(9_001)
  const still = await ask(url)
  assert.deepEqual([still.status, still.headers['retry-after']], [429, '1'])
  // Not of the routes beside it.
  assert.deepEqual(told(await ask(`${url}/other`)).slice(0, 2), ['2', '1'])
  region.advance(999)
  const anew = await ask(url)
  assert.deepEqual([anew.status, ...told(anew).slice(0, 2)], [200, '2', '1'])
  assert.deepEqual(await statuses(url, 2), [200, 429])
})

test('without a block of its own a limit blocks for as long as its window', async (t) => {
  const region = newRegion()
  const storage = new ForebayThrottlerStorage({ counter: region.window('throttler') })
  const { url, close } = await nest({ throttlers: [{ ttl: 60_000, limit: 5 }], storage })
  t.after(close)
  assert.deepEqual(await statuses(url, 6), [200, 200, 200, 200, 200, 429])
  region.advance(59_999)
  assert.deepEqual(await statuses(url, 1), [429])
  region.advance(1)
  assert.deepEqual(told(await ask(url)).slice(0, 2), ['5', '4'])
})

test('several throttlers count by themselves', async (t) => {
  const region = newRegion()
  const storage = new ForebayThrottlerStorage({ region, name: 'throttler' })
  const throttlers = [
    { name: 'short', ttl: 1_000, limit: 2 },
    { name: 'long', ttl: 60_000, limit: 3 },
  ]
  // One key for all, as a key generator of somebody's own may make it.
  const { url, close } = await nest({ throttlers, storage, generateKey: () => 'k' })
  t.after(close)
  const first = await ask(url)
  assert.deepEqual(told(first, '-short'), ['2', '1', '1'])
  assert.deepEqual(told(first, '-long'), ['3', '2', '60'])
  assert.deepEqual(await statuses(url, 2), [200, 429])
  region.advance(1_000)
  assert.deepEqual(await statuses(url, 1), [200])
  const refused = await ask(url)
  assert.deepEqual([refused.status, refused.headers['retry-after-long']], [429, '60'])
})

test('without a block only what is admitted counts', async () => {
  const region = newRegion()
  const storage = new ForebayThrottlerStorage({ region, name: 'throttler' })
  const increment = (limit, block = 0) => storage.increment('k', 10_000, limit, block, 'default')
  const record = (totalHits, timeToExpire, timeToBlockExpire) => ({
    totalHits,
    timeToExpire,
    isBlocked: timeToBlockExpire > 0,
    timeToBlockExpire,
  })
  assert.deepEqual(await increment(0), record(1, 10, 10))
  assert.deepEqual(await increment(2), record(1, 10, 0))
  region.advance(500)
  assert.deepEqual(await increment(Infinity), record(2, 10, 0))
  region.advance(1_500)
  assert.deepEqual(await increment(2), record(3, 8, 8))
  assert.deepEqual(await increment(3.5), record(3, 8, 0))
  region.advance(8_000)
  assert.deepEqual(await increment(2), record(1, 10, 0))
  // A block for ever, as long as there is one.
  const [, blocked] = [await increment(1, Infinity), await increment(1, Infinity)]
  assert.ok(blocked.isBlocked && blocked.timeToBlockExpire > 3 * 365 * 86_400)
})

test('bad input is a rejection that names it', async () => {
  const storage = new ForebayThrottlerStorage({ region: newRegion(), name: 'throttler' })
  await assert.rejects(storage.increment('k', 0, 1, 0, 'default'), { name: 'RangeError', message: /^window: got/ })
  await assert.rejects(storage.increment('k', 1000, '1', 0, 'default'), { name: 'TypeError', message: /^limit: got/ })
  await assert.rejects(storage.increment(undefined, 1000, 1, 0, 'default'), { name: 'TypeError', message: /^key: got/ })
})
