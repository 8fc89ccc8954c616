// A worker of the gateway, in Node: limiter, cache, breaker, histogram.
//
// usage: node worker.mjs REGION LOG RUN_NS MINUTE_NS MAX_KEYS

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { open, BreakerOpen } from 'forebay'

const TIERS = { Basic: 5, Business: 30, Enterprise: 300, Museum: 50 }
const OUTCOMES = { L: 'limited', H: 'hits', F: 'fetched', E: 'failed', X: 'rejected' }

/** The origin failed: it is down, or went down while it worked. */
class Down extends Error {}

/** The cache answered with bytes that are not the page's. */
class WrongBody extends Error {}

/** The line that a page's body repeats; its length is odd. */
function line(path) {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(path)) hash = Math.imul(hash ^ byte, 0x01000193)
  const text = Buffer.from(`${path} ${(hash >>> 0).toString(16).padStart(8, '0')}\n`)
  return text.length % 2 ? text : Buffer.concat([text, Buffer.from('\n')])
}

/** What the origin serves for a path. */
const body = (path, size) => Buffer.alloc(size, line(path))

/** Blocks, as this worker serves one request at a time. */
const nobody = new Int32Array(new SharedArrayBuffer(4))
const sleep = (ms) => Atomics.wait(nobody, 0, 0, ms)

class Worker {
  constructor(region, log, runMs, minuteMs, maxKeys) {
    const tiers = Object.fromEntries(
      Object.entries(TIERS).map(([name, rate]) => [name, { rate, per: minuteMs }]),
    )
    this.region = region
    this.clients = region.limiter('clients', { ...tiers.Basic, tiers, maxKeys })
    this.pages = region.cache('pages', { bytes: 32 << 20, maxEntries: 8192, maxItem: 128 << 10 })
    this.breaker = region.breaker('origin', {
      failureThreshold: 5,
      failureRate: null,
      openFor: runMs / 25,
      successThreshold: 2,
      halfOpenCalls: 1,
    })
    this.latency = region.histogram('latency')
    this.runMs = runMs
    this.start = 0
    this.counts = { L: 0, H: 0, F: 0, E: 0, X: 0 }
    this.stored = 0
    this.straddled = 0
    this.requests = readFileSync(log, 'utf8').split('\n').slice(0, -1)
  }

  /** How the origin is doing. */
  phase() {
    const passed = (this.region.now() - this.start) / this.runMs
    if (passed >= 0.55 && passed < 0.65) return 'failing'
    return passed >= 0.45 && passed < 0.55 ? 'slow' : 'well'
  }

  /** One call of the origin. */
  work() {
    const phase = this.phase()
    if (phase === 'failing') throw new Down()
    sleep(phase === 'slow' ? 0.6 : 0.2)
    if (this.phase() === 'failing') throw new Down()
  }

  /** Serves one request: the letter of what became of it. */
  serve(client, tier, path, size) {
    if (!this.clients.allow(client, 1, tier)) return 'L'
    const cached = this.pages.getBytes(path)
    if (cached !== undefined) {
      if (!body(path, size).equals(cached)) {
        throw new WrongBody(`${path}: ${cached.length} bytes that are not its ${size}`)
      }
      return 'H'
    }
    try {
      this.breaker.call(() => this.work())
    } catch (error) {
      if (error instanceof BreakerOpen) return 'X'
      if (error instanceof Down) return 'E'
      throw error
    }
    if (this.phase() === 'failing') this.straddled++
    if (this.pages.set(path, body(path, size))) this.stored++
    return 'F'
  }

  /** Serves a batch: a letter for each request. */
  serveAll(first, last) {
    let letters = ''
    for (let n = first; n < last; n++) {
      const [, client, tier, path, size] = this.requests[n].split('\t')
      const begun = performance.now()
      const letter = this.serve(client, tier, path, Number(size))
      this.latency.record(performance.now() - begun)
      this.counts[letter]++
      letters += letter
    }
    return letters
  }

  /** What this worker did, in JSON. */
  summary() {
    const { stored, straddled } = this
    const counts = Object.entries(this.counts)
    const served = counts.reduce((sum, [, count]) => sum + count, 0)
    const named = Object.fromEntries(counts.map(([letter, count]) => [OUTCOMES[letter], count]))
    return JSON.stringify({ served, ...named, stored, straddled })
  }
}

async function main([name, log, runNs, minuteNs, maxKeys]) {
  const region = open(name, { create: false, ephemeral: true })
  const worker = new Worker(region, log, runNs / 1e6, minuteNs / 1e6, Number(maxKeys))
  console.log('ready')
  for await (const command of createInterface({ input: process.stdin })) {
    const [verb, first, last] = command.split(' ')
    if (verb === 'start') {
      worker.start = first / 1e6
    } else if (verb === 'serve') {
      console.log(`done ${first} ${last} ${worker.serveAll(Number(first), Number(last))}`)
    } else if (verb === 'quit') {
      console.log(worker.summary())
      break
    } else {
      throw new Error(`not a command: ${command}`)
    }
  }
  region.close()
  // The coordinator holds the other end: while we listen, Node does not exit.
  process.stdin.destroy()
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof WrongBody)) throw error
  console.log(`wrong ${error.message}`)
  process.exitCode = 1
}
