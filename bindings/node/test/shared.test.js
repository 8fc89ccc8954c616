'use strict'

// One region for several processes (fork, cluster) and several threads.

const assert = require('node:assert/strict')
const { fork, spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { Worker } = require('node:worker_threads')
const { open } = require('forebay')

const WORKER = path.join(__dirname, 'shared-worker.js')
const CLUSTER = path.join(__dirname, 'shared-cluster.js')

let directory
let count = 0
const newPath = () => path.join(directory, `region-${(count += 1)}`)
before(() => (directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))))
after(() => fs.rmSync(directory, { recursive: true, force: true }))

/** What a worker (process or thread) reports first. */
async function report(worker) {
  const ended = once(worker, 'exit').then(([code]) => assert.fail(`ended with ${code}, no report`))
  const [message] = await Promise.race([once(worker, 'message'), ended])
  ended.catch(() => {})
  return message
}

/** What a worker reports before its good end. */
async function reportAndEnd(worker) {
  const end = once(worker, 'exit')
  const message = await report(worker)
  const [code] = await end
  assert.equal(code, 0)
  return message
}

function check(region, reports) {
  // 100 tokens and a clock that stands still: all workers together get 100.
  const admitted = reports.reduce((sum, { admitted }) => sum + admitted, 0)
  assert.equal(admitted, 100)
  assert.equal(region.limiter('api').allow('k'), false)
  const cache = region.cache('pages')
  for (const { name } of reports) assert.deepEqual(cache.get(['from', name]), { by: name })
  assert.equal(region.histogram('http').snapshot().count, 200 * reports.length)
  assert.equal(region.breaker('origin').state, 'open')
}

const options = { bytes: 4 << 20, manualClock: true, ephemeral: true }

test('processes share limits, values, breakers and histograms', async () => {
  const file = newPath()
  const region = open(file, options)
  assert.deepEqual([region.path, region.isShared], [file, true])
  region.limiter('api', '100/h')
  const workers = ['one', 'two'].map((name) => fork(WORKER, [file, name]))
  check(region, await Promise.all(workers.map(reportAndEnd)))
  assert.equal(region.stats().seats, 1)
  region.close()
  assert.equal(fs.existsSync(file), false)
})

test('the workers of a cluster share them too', async () => {
  const file = newPath()
  const region = open(file, options)
  region.limiter('api', '100/h')
  check(region, await reportAndEnd(fork(CLUSTER, [file])))
  region.close()
})

test('threads share them, and open the file once for the process', async () => {
  const file = newPath()
  const region = open(file, options)
  region.limiter('api', '100/h')
  const workers = ['one', 'two', 'three'].map((name) => new Worker(WORKER, { argv: [file, name] }))
  const reports = await Promise.all(workers.map(reportAndEnd))
  check(region, reports)
  assert.deepEqual(reports.map(({ seats }) => seats), [1, 1, 1])
  region.close()
  assert.equal(fs.existsSync(file), false)
})

test('a thread that ends lets go of its regions', async () => {
  const file = newPath()
  await reportAndEnd(new Worker(WORKER, { argv: [file, 'one', 'create'] }))
  assert.equal(fs.existsSync(file), false)
})

test('a thread that is terminated in the middle of a call leaves the others alone', async () => {
  const file = newPath()
  const region = open(file, options)
  const limiter = region.limiter('api', '1000000/h')
  const cache = region.cache('pages', { bytes: 1 << 20 })
  for (let round = 0; round < 5; round += 1) {
    const worker = new Worker(WORKER, { argv: [file, `busy ${round}`, 'spin'] })
    await report(worker)
    await worker.terminate()
    assert.equal(limiter.allow(`after ${round}`), true)
    assert.equal(cache.set(`after ${round}`, round), true)
    assert.equal(cache.get(`after ${round}`), round)
  }
  region.close()
})

test('a process that is killed in the middle of a call leaves the others alone', async () => {
  const file = newPath()
  const region = open(file, options)
  region.limiter('api', '1000000/h')
  const cache = region.cache('pages', { bytes: 1 << 20 })
  for (let round = 0; round < 5; round += 1) {
    const worker = fork(WORKER, [file, `busy ${round}`, 'spin'])
    await report(worker)
    worker.kill('SIGKILL')
    await once(worker, 'exit')
    // A shard that it held may be cleared, which is a miss; not more than that.
    cache.set(`after ${round}`, round)
    assert.equal(cache.set(`after ${round}`, round), true)
    assert.equal(cache.get(`after ${round}`), round)
  }
  assert.equal(region.stats().seats, 1)
  region.close()
})

test('opening a region does not keep a process alive', async () => {
  const program = `const region = require('forebay').open(${JSON.stringify(newPath())}, { ephemeral: true })
    region.breaker('b').call(() => new Promise(() => {}))`
  const child = spawn(process.execPath, ['-e', program], { cwd: path.join(__dirname, '..') })
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})
