'use strict'

// The store under express-rate-limit itself. The region's clock stands still, so
// windows end when the tests say so.

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { privateRegion } = require('forebay')
const { ForebayStore } = require('forebay/express-rate-limit')
const { express, rateLimit, ask, statuses } = require('./installed.js')

const newRegion = () => privateRegion({ bytes: 8 << 20, manualClock: true })

test('requests beyond the limit are refused until the window ends', async (t) => {
  const region = newRegion()
  const store = new ForebayStore({ region, name: 'api' })
  const { url, close } = await express({ '/': rateLimit({ limit: 3, store }) })
  t.after(close)
  assert.deepEqual(await statuses(url, 4), [200, 200, 200, 429])
  region.advance(59_999)
  assert.deepEqual(await statuses(url, 1), [429])
  region.advance(1)
  assert.deepEqual(await statuses(url, 4), [200, 200, 200, 429])
})

test('clients are told what is left and when it begins anew', async (t) => {
  const region = newRegion()
  const store = new ForebayStore({ region, name: 'api' })
  const { url, close } = await express({ '/': rateLimit({ limit: 2, store, standardHeaders: 'draft-7' }) })
  t.after(close)
  const first = await ask(url)
  assert.equal(first.headers.ratelimit, 'limit=2, remaining=1, reset=60')
  const reset = Number(first.headers['x-ratelimit-reset']) * 1000 - Date.now()
  assert.ok(reset > 50_000 && reset < 62_000, `${reset} ms`)
  region.advance('20s')
  const second = await ask(url)
  assert.equal(second.headers.ratelimit, 'limit=2, remaining=0, reset=40')
  const refused = await ask(url)
  assert.deepEqual([refused.status, refused.headers['retry-after']], [429, '40'])
})

test('what came to nothing is taken back, and keys are looked at and reset', async (t) => {
  const store = new ForebayStore({ region: newRegion(), name: 'api' })
  const limiter = rateLimit({ limit: 1, store, skipSuccessfulRequests: true, keyGenerator: () => 'k' })
  const { url, close } = await express({ '/': limiter })
  t.after(close)
  assert.equal(await limiter.getKey('k'), undefined)
  assert.deepEqual(await statuses(url, 3), [200, 200, 200])
  const { totalHits, resetTime } = await limiter.getKey('k')
  assert.equal(totalHits, 0)
  assert.ok(resetTime instanceof Date)
  store.increment('k')
  assert.deepEqual(await statuses(url, 1), [429])
  limiter.resetKey('k')
  assert.equal(await limiter.getKey('k'), undefined)
  assert.deepEqual(await statuses(url, 1), [200])
})

test('limits of different stores do not meet, and nothing is said to be wrong', async (t) => {
  const region = newRegion()
  const counter = region.window('hits')
  const complaints = []
  const logger = { warn: (text) => complaints.push(text), error: (text) => complaints.push(text) }
  const of = (limit, store) => rateLimit({ limit, store, logger, keyGenerator: () => 'k' })
  const console_ = t.mock.method(console, 'error', (...told) => complaints.push(told))
  const { url, close } = await express({
    '/': of(9, new ForebayStore({ counter, prefix: 'all:' })),
    '/login': of(1, new ForebayStore({ counter, prefix: 'login:' })),
    '/api': of(2, new ForebayStore({ region, name: 'api' })),
  })
  t.after(close)
  assert.deepEqual(await statuses(`${url}/login`, 2), [200, 429])
  assert.deepEqual(await statuses(`${url}/api`, 3), [200, 200, 429])
  assert.deepEqual(await statuses(`${url}/`, 5), [200, 200, 200, 200, 429])
  assert.deepEqual([counter.get('all:k').count, counter.get('login:k').count], [10, 2])
  assert.equal(region.window('api').get('api:k').count, 3)
  assert.deepEqual(complaints, [])
  console_.mock.restore()
})

test('all keys are reset together, and shutting down takes nothing from others', () => {
  const region = newRegion()
  const store = new ForebayStore({ region, name: 'api', maxKeys: 100 })
  store.init({ windowMs: 1000 })
  assert.equal(store.localKeys, false)
  assert.equal(store.increment('a').totalHits, 1)
  assert.equal(store.increment('b').totalHits, 1)
  assert.equal(store.shutdown(), undefined)
  assert.equal(store.increment('a').totalHits, 2)
  store.resetAll()
  assert.deepEqual([store.get('a'), store.get('b')], [undefined, undefined])
  store.decrement('a')
  assert.equal(store.get('a'), undefined)
})

test('a window that no counter has is an error that names it', async (t) => {
  const store = new ForebayStore({ region: newRegion(), name: 'api' })
  store.init({ windowMs: 0 })
  assert.throws(() => store.increment('k'), { name: 'RangeError', message: /^window: got/ })
  store.init({ windowMs: '1m' })
  assert.equal(store.increment('k').totalHits, 1)
  const { url, close } = await express({ '/': rateLimit({ windowMs: 0.5, limit: 1, store }) })
  t.after(close)
  assert.deepEqual(await statuses(url, 1), [500])
})
