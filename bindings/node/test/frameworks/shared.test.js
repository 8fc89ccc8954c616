'use strict'

// Two processes, one limit: each serves, and both count in one file.

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')
const { open } = require('forebay')
const { ask } = require('./installed.js')

const WORKER = path.join(__dirname, 'shared-worker.js')

for (const framework of ['express', 'nest', 'fastify']) {
  test(`processes with ${framework} share a limit`, async (t) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'forebay-'))
    t.after(() => fs.rmSync(directory, { recursive: true }))
    const file = path.join(directory, 'region')
    const region = open(file, { bytes: 8 << 20, manualClock: true, ephemeral: true })
    const workers = [1, 2].map(() => fork(WORKER, [file, framework]))
    t.after(() => workers.forEach((worker) => worker.kill('SIGKILL')))
    const urls = await Promise.all(
      workers.map(async (worker) => {
        const died = once(worker, 'exit').then(([code]) => assert.fail(`ended with ${code}`))
        const [url] = await Promise.race([once(worker, 'message'), died])
        died.catch(() => {})
        return url
      }),
    )
    const alternating = async (times) => {
      const all = []
      for (let i = 0; i < times; i += 1) all.push((await ask(urls[i % 2])).status)
      return all
    }
    assert.deepEqual(await alternating(5), [200, 200, 200, 429, 429])
    region.advance('1m')
    // All at once now: who comes first does not matter, how many does.
    const together = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(urls[i % 2])))
    const admitted = together.filter(({ status }) => status === 200).length
    // Nest's blocks refuse also who is overtaken by one.
    assert.ok(admitted <= 3 && admitted >= (framework === 'nest' ? 1 : 3), `${admitted} admitted`)
    // Nothing of ours keeps them alive: they end when their servers do.
    const ends = workers.map((worker) => once(worker, 'exit'))
    workers.forEach((worker) => worker.send('end'))
    for (const [code] of await Promise.all(ends)) assert.equal(code, 0)
    region.close()
  })
}
