'use strict'

// The store under @fastify/rate-limit itself.

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { privateRegion } = require('forebay')
const { forebayStore } = require('forebay/fastify-rate-limit')
const { fastify, ask, statuses } = require('./installed.js')

const newRegion = () => privateRegion({ bytes: 8 << 20, manualClock: true })

test('requests beyond the limit are refused until the window ends', async (t) => {
  const region = newRegion()
  const { url, close } = await fastify({ max: 3, store: forebayStore({ region, name: 'api' }) })
  t.after(close)
  const { headers } = await ask(url)
  assert.deepEqual(
    ['limit', 'remaining', 'reset'].map((name) => headers[`x-ratelimit-${name}`]),
    ['3', '2', '60'],
  )
  assert.deepEqual(await statuses(url, 3), [200, 200, 429])
  region.advance(20_000)
  const refused = await ask(url)
  assert.deepEqual([refused.status, refused.headers['retry-after']], [429, '40'])
  region.advance(40_000)
  assert.deepEqual(await statuses(url, 4), [200, 200, 200, 429])
})

test('a route with a limit of its own counts by itself', async (t) => {
  const region = newRegion()
  const store = forebayStore({ counter: region.window('hits') })
  const routes = { '/login': { max: 1 }, '/search': { max: 2, timeWindow: 10_000 } }
  const { url, close } = await fastify({ max: 3, store, keyGenerator: () => 'k' }, routes)
  t.after(close)
  assert.deepEqual(await statuses(`${url}/login`, 2), [200, 429])
  assert.deepEqual(await statuses(`${url}/search`, 3), [200, 200, 429])
  assert.deepEqual(await statuses(url, 4), [200, 200, 200, 429])
  region.advance(10_000)
  assert.deepEqual(await statuses(`${url}/search`, 1), [200])
  assert.deepEqual(await statuses(`${url}/login`, 1), [429])
  assert.equal(region.window('hits').get(['GET /login', 'k']).count, 3)
  assert.equal(region.window('hits').get(['', 'k']).count, 4)
})

test('who goes on asking goes on waiting, if that is wanted', async (t) => {
  const region = newRegion()
  const store = forebayStore({ region, name: 'api' })
  const { url, close } = await fastify({ max: 1, ban: 2, continueExceeding: true, store })
  t.after(close)
  assert.deepEqual(await statuses(url, 2), [200, 429])
  region.advance(59_000)
  const again = await ask(url)
  assert.deepEqual([again.status, again.headers['retry-after']], [429, '60'])
  region.advance(59_000)
  // More than two too many: banned.
  assert.deepEqual(await statuses(url, 1), [403])
  region.advance(60_000)
  assert.deepEqual(await statuses(url, 2), [200, 429])
})

test('who goes on asking waits twice as long each time, if that is wanted', async (t) => {
  const region = newRegion()
  const store = forebayStore({ region, name: 'api' })
  const { url, close } = await fastify({ max: 1, exponentialBackoff: true, store })
  t.after(close)
  assert.deepEqual(await statuses(url, 1), [200])
  for (const wait of ['60', '120', '240']) {
    assert.equal((await ask(url)).headers['retry-after'], wait)
    region.advance(59_000)
  }
  region.advance(180_999)
  assert.equal((await ask(url)).headers['retry-after'], '480')
  region.advance(480_000)
  assert.deepEqual(await statuses(url, 1), [200])
})

test('a request is counted, or only looked at, where the application wants it', async (t) => {
  const region = newRegion()
  const store = forebayStore({ region, name: 'api' })
  const { app, url, close } = await fastify({ global: false, store, keyGenerator: () => 'k' }, {})
  t.after(close)
  const limits = [app.createRateLimit({ max: 2 }), app.createRateLimit({ max: 5, exponentialBackoff: true })]
  const request = { ip: '203.0.113.7', routeOptions: { config: {} } }
  for (const expected of [[2, 0, 1, false], [1, 60_000, 0, false], [0, 60_000, 0, true]]) {
    const before = await limits[0](request, { increment: false })
    const { remaining, isExceeded } = await limits[0](request)
    assert.deepEqual([before.remaining, before.ttl, remaining, isExceeded], expected)
  }
  // The other one counts by itself.
  assert.equal((await limits[1](request)).remaining, 4)
  assert.deepEqual(await statuses(url, 1), [200])
})

test('errors are called back', () => {
  const Store = forebayStore({ region: newRegion(), name: 'api' })
  const store = new Store({})
  for (const verb of ['incr', 'read']) {
    const calls = []
    store[verb]({}, (...given) => calls.push(given), 1000, 1)
    assert.deepEqual(calls.map(([error, ...rest]) => [error.name, error.code, rest]), [['TypeError', 'FB_E_INVALID_ARGUMENT', []]])
  }
  // An error of the caller's own is not called back again.
  let calls = 0
  const mine = new Error('mine')
  const callback = () => {
    calls += 1
    throw mine
  }
  assert.throws(() => store.incr('k', callback, 1000, 1), mine)
  assert.equal(calls, 1)
})

test('a process that comes between the two steps of another is refused too', () => {
  const region = newRegion()
  const counter = region.window('hits')
  const store = new (forebayStore({ counter }))({ continueExceeding: true })
  const incr = () => {
    let result
    store.incr('k', (error, answer) => (result = answer), 1000, 1)
    return result
  }
  assert.equal(incr().current, 1)
  assert.deepEqual(incr(), { current: 2, ttl: 1000 })
  // As another process leaves it, after its first step.
  counter.reset(['', 'k'])
  store.read('k', (error, answer) => assert.deepEqual(answer, { current: 2, ttl: 1000 }), 1000, 1)
  assert.deepEqual(incr(), { current: 2, ttl: 1000 })
})
