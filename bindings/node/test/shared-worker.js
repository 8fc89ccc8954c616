'use strict'

// A worker of shared.test.js, as a process or as a thread: uses everything in
// the region at the path it is given, and reports.

const { parentPort } = require('node:worker_threads')
const { open } = require('forebay')

const [, , file, name, how] = process.argv
const send = (message) => (parentPort ?? process)[parentPort ? 'postMessage' : 'send'](message)

const region = open(file, { bytes: 4 << 20, ephemeral: true, manualClock: true, create: how === 'create' })
const limiter = region.limiter('api', how === 'create' ? '100/h' : undefined)
const cache = region.cache('pages', { bytes: 1 << 20 })

if (how === 'spin') {
  send('busy')
  for (let i = 0; ; i += 1) {
    limiter.allow(`spin ${i % 100}`)
    cache.set(`spin ${i % 100}`, { i, filler: 'x'.repeat(i % 2000) })
    cache.get(`spin ${(i * 7) % 100}`)
  }
}

const histogram = region.histogram('http')
let admitted = 0
for (let i = 0; i < 200; i += 1) {
  if (limiter.allow('k')) admitted += 1
  histogram.record(i)
}
cache.set(['from', name], { by: name })
const breaker = region.breaker('origin', { failureThreshold: 2 })
breaker.tryEnter()?.failure()
breaker.tryEnter()?.failure()
send({ name, admitted, seats: region.stats().seats })
// The channel of a forked process would keep it alive.
if (!parentPort) process.disconnect()
