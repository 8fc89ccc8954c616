'use strict'

// Reservations, and waiting for tokens without stopping the loop.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { getEventListeners, once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { setTimeout: pause } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')
const { open, privateRegion, ForebayError, Reservation, Verdict } = require('forebay')

const newRegion = () => privateRegion({ bytes: 4 << 20, manualClock: true })

/** A limiter of one token an hour, which is spent. */
function spent(region) {
  const limiter = region.limiter('l', '1/h')
  assert.equal(limiter.allow('k'), true)
  return limiter
}

/** When the next token may be had, in hours. */
const hours = (limiter) => limiter.peek('k').retryAfter / 3600e3

/** Fails unless the promise is still waiting after some turns of the loop. */
async function mustWait(promise) {
  assert.equal(await Promise.race([promise, pause(20, 'waits')]), 'waits')
}

test('a reservation tells when to act, and gives back what is cancelled in time', () => {
  const region = newRegion()
  const limiter = spent(region)
  const first = limiter.reserve('k', '2h')
  const second = limiter.reserve('k', 7200e3)
  assert.ok(first instanceof Reservation)
  assert.deepEqual([first.wait, first.due], [3600e3, 3_600_000_000_000n])
  assert.deepEqual([second.wait, second.due], [7200e3, 7_200_000_000_000n])
  assert.equal(limiter.reserve('k', '2h'), undefined)
  assert.equal(hours(limiter), 3)
  region.advance('30m')
  assert.equal(first.wait, 1800e3)
  assert.deepEqual([second.cancel(), second.cancel(), second.wait], [true, false, 0])
  assert.equal(hours(limiter), 1.5)
  region.advance('30m')
  assert.deepEqual([first.wait, first.cancel(), first.wait], [0, false, 0])
  assert.equal(hours(limiter), 1)
})

test('a reservation has its cost, its tier and its own copy of the key', () => {
  const limiter = newRegion().limiter('l', { rate: '10/s', tiers: { slow: '1/h', free: 'unlimited' } })
  const key = new Uint8Array([1, 2])
  assert.equal(limiter.reserve(key, 0, { cost: 10 }).wait, 0)
  const reserved = limiter.reserve(key, '1s', { cost: 5 })
  assert.equal(reserved.wait, 500)
  key.fill(9)
  assert.equal(reserved.cancel(), true)
  assert.equal(limiter.peek(new Uint8Array([1, 2])).retryAfter, 100)
  assert.equal(limiter.reserve('k', '1s', { cost: 11 }), undefined)
  assert.equal(limiter.reserve('k', 0, { cost: 1e9, tier: 'free' }).wait, 0)
  assert.equal(limiter.reserve('k', 0, { tier: 'slow' }).wait, 0)
  assert.equal(limiter.reserve('k', '1m', { tier: 'slow' }), undefined)
  assert.equal(limiter.reserve('k', 0, { cost: undefined, tier: undefined }), undefined)
})

test('a reservation that nobody holds any more stays spent', () => {
  const region = newRegion()
  const limiter = spent(region)
  limiter.reserve('k', '2h')
  assert.equal(hours(limiter), 2)
})

test('acquiring what is there, or will not be in time, waits for nothing', async () => {
  const limiter = newRegion().limiter('l', '1/h burst 2')
  const got = await limiter.acquire('k', 0)
  assert.ok(got instanceof Verdict)
  assert.deepEqual([got.allowed, got.limit, got.remaining], [true, 2, 1])
  assert.equal((await limiter.acquire('k', '1h', { cost: 3 })).retryAfter, null)
  await limiter.acquire('k', 0)
  const refused = await limiter.acquire('k', '59m')
  assert.deepEqual([refused.allowed, refused.retryAfter], [false, 3600e3])
  assert.deepEqual([limiter.stats().admitted, limiter.stats().refused], [2, 2])
})

test('who waits is served in turn, when the clock says so', async () => {
  const region = newRegion()
  const limiter = spent(region)
  const served = []
  const waiting = ['first', 'second'].map((name) =>
    limiter.acquire('k', '2h').then((verdict) => {
      served.push(name)
      return verdict
    }),
  )
  await mustWait(Promise.race(waiting))
  region.advance('1h')
  const first = await waiting[0]
  assert.deepEqual([first.allowed, first.remaining, first.retryAfter], [true, 0, null])
  await mustWait(waiting[1])
  region.advance('59m')
  await mustWait(waiting[1])
  region.advance('1m')
  assert.equal((await waiting[1]).allowed, true)
  assert.deepEqual(served, ['first', 'second'])
})

test('the real clock is waited for, and the loop goes on', async () => {
  const limiter = privateRegion({ bytes: 4 << 20 }).limiter('l', '10/s burst 1')
  const started = performance.now()
  assert.equal(limiter.allow('k'), true)
  let turns = 0
  const count = setInterval(() => (turns += 1), 1)
  const verdict = await limiter.acquire('k', '5s')
  clearInterval(count)
  assert.equal(verdict.allowed, true)
  assert.ok(performance.now() - started > 99)
  assert.ok(turns > 0)
})

test('a clock that somebody else moves is looked at', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'region')
  const [one, other] = [1, 2].map(() => open(file, { bytes: 4 << 20, manualClock: true }))
  const waiting = spent(one).acquire('k', '1h')
  await mustWait(waiting)
  other.advance('1h')
  assert.equal((await waiting).allowed, true)
  one.close()
  other.close()
})

test('a wait longer than timers are is cut, without a warning', async (t) => {
  const warnings = []
  const warned = (warning) => warnings.push(warning)
  process.on('warning', warned)
  t.after(() => process.off('warning', warned))
  const limiter = privateRegion({ bytes: 4 << 20 }).limiter('l', { rate: 1, per: '60d' })
  limiter.take('k')
  const controller = new AbortController()
  const waiting = limiter.acquire('k', '61d', { signal: controller.signal })
  await mustWait(waiting)
  controller.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  assert.deepEqual(warnings, [])
})

test('a signal that fires gives the place up and is the reason', async () => {
  const region = newRegion()
  const limiter = spent(region)
  const controller = new AbortController()
  const { signal } = controller
  const waiting = limiter.acquire('k', '2h', { signal })
  assert.equal(hours(limiter), 2)
  const reason = new Error('mine')
  controller.abort(reason)
  assert.equal(hours(limiter), 1)
  await assert.rejects(waiting, (error) => error === reason)
  await assert.rejects(limiter.acquire('k', '2h', { signal }), (error) => error === reason)
  assert.equal(hours(limiter), 1)
  const timeout = AbortSignal.timeout(5)
  await assert.rejects(limiter.acquire('k', '2h', { signal: timeout }), { name: 'TimeoutError' })
  assert.equal(hours(limiter), 1)
})

test('many may wait with one signal', async (t) => {
  const warnings = []
  const warned = (warning) => warnings.push(warning)
  process.on('warning', warned)
  t.after(() => process.off('warning', warned))
  const region = newRegion()
  const limiter = spent(region)
  const controller = new AbortController()
  const { signal } = controller
  const waiting = Array.from({ length: 50 }, () => limiter.acquire('k', '99h', { signal }))
  region.advance('10h')
  await Promise.all(waiting.slice(0, 10))
  assert.equal(hours(limiter), 41)
  controller.abort()
  const ends = await Promise.allSettled(waiting)
  assert.equal(ends.filter(({ status }) => status === 'rejected').length, 40)
  assert.equal(hours(limiter), 1)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  await mustWait(limiter.acquire('k', '1h', { signal: new AbortController().signal }))
  region.close()
  assert.deepEqual(warnings, [])
})

test('a signal that fires too late changes nothing', async () => {
  const region = newRegion()
  const limiter = spent(region)
  const controller = new AbortController()
  const waiting = limiter.acquire('k', '2h', { signal: controller.signal })
  region.advance('1h')
  controller.abort()
  assert.equal((await waiting).allowed, true)
})

test('those who wait reject when the region is closed, and give their places up', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'region')
  const [one, other] = [1, 2].map(() => open(file, { bytes: 4 << 20, manualClock: true }))
  const limiter = spent(one)
  const waiting = [limiter.acquire('k', '9h'), limiter.acquire('k', '9h')]
  limiter.reserve('k', '9h').cancel()
  assert.equal(hours(other.limiter('l')), 3)
  one.close()
  assert.equal(hours(other.limiter('l')), 1)
  for (const promise of waiting) {
    await assert.rejects(promise, (error) => {
      assert.ok(error instanceof ForebayError)
      return error.code === 'FB_E_CLOSED'
    })
  }
  await assert.rejects(limiter.acquire('k', 0), { code: 'FB_E_CLOSED' })
  other.close()
})

test('a thread that is ended while it waits gives its place up', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  const file = path.join(directory, 'region')
  const region = open(file, { bytes: 4 << 20, manualClock: true })
  const limiter = spent(region)
  const worker = new Worker(
    `const { open } = require('forebay')
     const { parentPort, workerData } = require('node:worker_threads')
     open(workerData).limiter('l').acquire('k', '9h')
     parentPort.postMessage('waiting')`,
    { eval: true, workerData: file },
  )
  await once(worker, 'message')
  assert.equal(hours(limiter), 2)
  await worker.terminate()
  assert.equal(hours(limiter), 1)
  region.close()
})

test('a process lives while it waits', () => {
  const program = `
    const { privateRegion } = require('forebay')
    const limiter = privateRegion().limiter('l', '50/s burst 1')
    limiter.take('k')
    limiter.acquire('k', '5s').then(({ allowed }) => console.log(allowed))`
  const cwd = path.join(__dirname, '..')
  assert.equal(execFileSync(process.execPath, ['-e', program], { cwd, encoding: 'utf8' }), 'true\n')
})
