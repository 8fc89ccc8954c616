'use strict'

// Permits and window counters beyond the table of vectors: leases that are
// dropped, closed, left by threads and by processes; what is told and how.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { setFlagsFromString } = require('node:v8')
const { runInNewContext } = require('node:vm')
const { Worker } = require('node:worker_threads')
const { open, privateRegion, ForebayError, Lease, Refused } = require('forebay')

const newRegion = () => privateRegion({ bytes: 8 << 20, manualClock: true })

function newFile(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  return path.join(directory, 'region')
}

test('a permit is a lease, or undefined', () => {
  const region = newRegion()
  const jobs = region.permits('jobs', { limit: 2, lease: '10s' })
  assert.equal(jobs.name, 'jobs')
  const one = jobs.tryAcquire('ada')
  const two = jobs.tryAcquire(Buffer.from('ada'))
  assert.ok(one instanceof Lease && two instanceof Lease)
  assert.equal(jobs.tryAcquire('ada'), undefined)
  assert.ok(jobs.tryAcquire(['ada']) instanceof Lease)
  assert.deepEqual([jobs.inUse('ada'), jobs.inUse('bob')], [2, 0])
  assert.deepEqual([one.endsIn, one.release(), one.release(), one.renew(), one.endsIn], [10000, true, false, false, 0])
  region.advance('9s')
  assert.deepEqual([two.renew(), two.endsIn], [true, 10000])
  region.advance('10s')
  assert.deepEqual([two.endsIn, two.renew(), two.release()], [0, false, false])
})

test('a refusal that is thrown says why, and when to try again', () => {
  const region = newRegion()
  const jobs = region.permits('jobs', { limit: 1, lease: '10s', maxLeases: 1 })
  const lease = jobs.enforce('ada')
  region.advance('4s')
  const refused = (key, reason, message) =>
    assert.throws(
      () => jobs.enforce(key),
      (error) => {
        assert.ok(error instanceof Refused && error instanceof ForebayError)
        assert.deepEqual(
          [error.name, error.code, error.permits, error.reason, error.retryAfter, error.message],
          ['Refused', 'FB_DENIED', 'jobs', reason, 6000, message],
        )
        assert.deepEqual(Object.keys(error), ['code', 'permits', 'reason', 'retryAfter'])
        return true
      },
    )
  refused('ada', 'limit', "the permits 'jobs' are all out: retry within 6s")
  // There is more room than was asked for; in the end it is taken.
  const others = []
  for (let key = 0; jobs.stats().full === 0; key += 1) others.push(jobs.tryAcquire([key]))
  assert.equal(others.pop(), undefined)
  refused('bob', 'full', "the permits 'jobs' have no room for another lease: retry within 6s")
  assert.deepEqual(
    jobs.stats(),
    { granted: 1 + others.length, refused: 1, full: 2, busy: 0, expired: 0, reaped: 0 },
  )
  assert.equal(lease.release(), true)
})

test('a lease is released at the end of its block', { skip: !Symbol.dispose && 'no Symbol.dispose' }, () => {
  const jobs = newRegion().permits('jobs', { limit: 1 })
  jobs.enforce('ada')[Symbol.dispose]()
  assert.equal(jobs.inUse('ada'), 0)
})

// Ways to collect garbage and let the finalisers run; no time is waited.
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

test('a lease that is collected is released', async () => {
  const jobs = newRegion().permits('jobs', { limit: 2 })
  const kept = jobs.enforce('ada')
  ;(() => void jobs.enforce('ada'))()
  for (let turn = 0; turn < 1000 && jobs.inUse('ada') === 2; turn += 1) {
    gc()
    await new Promise((next) => setImmediate(next))
  }
  assert.equal(jobs.inUse('ada'), 1)
  assert.equal(kept.release(), true)
})

test('leases end with the region that they are from', (t) => {
  const file = newFile(t)
  const options = { bytes: 4 << 20, ephemeral: true }
  const [one, other] = [open(file, options), open(file, options)]
  const lease = one.permits('jobs', { limit: 2 }).enforce('ada')
  const kept = other.permits('jobs').enforce('ada')
  one.close()
  assert.equal(other.permits('jobs').inUse('ada'), 1)
  assert.deepEqual([lease.endsIn, lease.renew(), lease.release()], [0, false, false])
  assert.equal(kept.release(), true)
  other.close()
})

test('leases of a thread end with it', async (t) => {
  const file = newFile(t)
  const region = open(file, { bytes: 4 << 20, ephemeral: true })
  const jobs = region.permits('jobs', { limit: 1 })
  const worker = new Worker(
    `const { open } = require('forebay')
     const { parentPort, workerData } = require('node:worker_threads')
     globalThis.lease = open(workerData).permits('jobs').enforce('ada')
     parentPort.on('message', () => {})
     parentPort.postMessage('held')`,
    { eval: true, workerData: file },
  )
  await once(worker, 'message')
  assert.equal(jobs.tryAcquire('ada'), undefined)
  await worker.terminate()
  assert.ok(jobs.tryAcquire('ada') instanceof Lease)
  region.close()
})

test('leases of a process that was killed are given to the next who asks', (t) => {
  const file = newFile(t)
  const region = open(file, { bytes: 4 << 20, ephemeral: true })
  const jobs = region.permits('jobs', { limit: 1 })
  const program = `
    globalThis.lease = require('forebay').open(${JSON.stringify(file)}).permits('jobs').enforce('ada')
    process.kill(process.pid, 'SIGKILL')`
  const cwd = path.join(__dirname, '..')
  assert.throws(() => execFileSync(process.execPath, ['-e', program], { cwd }), { signal: 'SIGKILL' })
  assert.ok(jobs.tryAcquire('ada') instanceof Lease)
  assert.equal(jobs.stats().reaped, 1)
  region.close()
})

test('permits are attached to without options, and are not there without any', () => {
  const region = newRegion()
  assert.throws(() => region.permits('jobs'), { code: 'FB_E_NOT_FOUND' })
  const jobs = region.permits('jobs', { limit: 1, maxLeases: 100 })
  const lease = jobs.tryAcquire('ada')
  assert.equal(region.permits('jobs').tryAcquire('ada'), undefined)
  // Soft: for all, from now on.
  region.permits('jobs', { limit: 2 })
  const second = jobs.tryAcquire('ada')
  assert.deepEqual([lease.release(), second.release()], [true, true])
  assert.throws(() => region.permits('jobs', { limit: 2, maxLeases: 50 }), { code: 'FB_E_GEOMETRY' })
})

test('hits are counted in windows', () => {
  const region = newRegion()
  const hits = region.window('hits')
  assert.equal(hits.name, 'hits')
  assert.deepEqual(hits.hit('k', '1m'), { counted: true, count: 1, resetsIn: 60000 })
  region.advance('20s')
  assert.deepEqual(hits.hit('k', '1m', { hits: 2, limit: 3 }), { counted: true, count: 3, resetsIn: 40000 })
  assert.deepEqual(hits.hit('k', '1m', { limit: 3 }), { counted: false, count: 3, resetsIn: 40000 })
  assert.deepEqual(hits.decrement('k'), { count: 2, resetsIn: 40000 })
  assert.deepEqual(hits.decrement('k', 5), { count: 0, resetsIn: 40000 })
  assert.deepEqual(region.window('hits').get(Buffer.from('k')), { count: 0, resetsIn: 40000 })
  hits.block('k', '5s')
  assert.deepEqual([hits.blockedFor('k'), hits.blockedFor('other')], [5000, 0])
  assert.deepEqual([hits.unblock('k'), hits.unblock('k')], [true, false])
  assert.deepEqual([hits.reset('k'), hits.reset('k')], [true, false])
  hits.hit('k', 1000)
  hits.clear()
  assert.deepEqual(hits.get('k'), { count: 0, resetsIn: 0 })
  assert.deepEqual([hits.stats().hits, hits.stats().refused], [3, 1])
  assert.throws(() => region.window('hits', { maxKeys: 5 }), { code: 'FB_E_GEOMETRY' })
})
