// A long-lived worker of the torture test, in Node: see src/steady.rs. Node maps
// no files: it writes its log by positioned writes, which survive it as well.
//
// usage: node worker.mjs REGION LOG WHO SEED

import { openSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { open } from 'forebay'

const CURSOR = 0
const STATE = 8
const ORDER = 16
const HEADER = 16 * 8
const RECORD = 5 * 8
const CAPACITY = 32_768
const [RUNNING, RESTING] = [1, 2]
const [REST, QUIT] = [1, 2]
const [GET, SET, DELETE, , TAKE, BREAK, RECORD_NS] = [1, 2, 3, 4, 5, 6, 7]
const [SLIDE, BOTH, ACQUIRE, RENEW, RELEASE] = [8, 9, 10, 11, 12]
const [YES, NO, WRONG] = [1n, 2n, 2n ** 64n - 1n]
const [SUCCESS, FAILURE, REJECTED, LATE] = [1n, 2n, 3n, 4n]
const [KEYS, HOT_KEYS, BUCKETS, HOT_BUCKETS, DURATIONS] = [2048, 48, 20_000, 4, 16]
const LARGEST = 3800
/** Keys of the sliding window, of the two rates, and of the permits, each. */
const FEW = 2
const HELD = 16

/** The value of this key, id and length. */
function make(key, high, low, length) {
  const value = Buffer.alloc(length)
  const header = [key, length, low, high]
  for (let place = 0; place < length / 4; place++) {
    const word = (header[place % 4] ^ Math.imul(place, 0x9e3779b1)) >>> 0
    value.writeUInt32LE(word, place * 4)
  }
  return value
}

/** The id of a whole value of this key, or `WRONG`. */
function idOf(key, value) {
  if (value.length < 16) return WRONG
  const word = (place) => (value.readUInt32LE(place * 4) ^ Math.imul(place, 0x9e3779b1)) >>> 0
  const [low, high] = [word(2), word(3)]
  if (!value.equals(make(key, high, low, value.length))) return WRONG
  return (BigInt(high) << 32n) | BigInt(low)
}

/** A generator of random numbers that a seed determines (mulberry32). */
function generator(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  return (bound) => Math.floor(next() * bound)
}

/** Blocks, as everything here does. */
const nobody = new Int32Array(new SharedArrayBuffer(4))
const sleep = (ms) => Atomics.wait(nobody, 0, 0, ms)

const now = () => process.hrtime.bigint()

class Worker {
  constructor(region, log, who, seed) {
    this.cache = region.cache('cache')
    this.limiter = region.limiter('limits')
    this.breaker = region.breaker('origin')
    this.histogram = region.histogram('latency')
    this.sliding = region.limiter('sliding')
    this.rates = region.limiter('rates')
    this.permits = region.permits('permits')
    this.evidence = `${log}.wrong`
    this.file = openSync(log, 'r+')
    this.random = generator(seed ^ who)
    this.who = who
    this.written = 0
    this.leases = 0
    this.record = Buffer.alloc(RECORD)
    this.word = Buffer.alloc(8)
    this.cursor = 0
  }

  read(at) {
    readSync(this.file, this.word, 0, 8, at)
    return Number(this.word.readBigUInt64LE())
  }

  write(at, value) {
    this.word.writeBigUInt64LE(BigInt(value))
    writeSync(this.file, this.word, 0, 8, at)
  }

  /** Notes that a call begins: where its record is. */
  invoke(operation, key, ttl = 0, low = 0, high = 0) {
    const at = HEADER + this.cursor * RECORD
    this.record.writeUInt32LE(((ttl << 16) | operation) >>> 0, 0)
    this.record.writeUInt32LE(key, 4)
    this.record.writeUInt32LE(low, 8)
    this.record.writeUInt32LE(high, 12)
    this.record.fill(0, 24)
    this.record.writeBigUInt64LE(now(), 16)
    writeSync(this.file, this.record, 0, RECORD, at)
    this.write(CURSOR, ++this.cursor)
    return at
  }

  /** Notes a call's answer. */
  answer(at, result) {
    this.write(at + 24, result)
    this.write(at + 32, now())
  }

  key() {
    return this.random(this.random(4) === 0 ? KEYS : HOT_KEYS)
  }

  get() {
    const key = this.key()
    const call = this.invoke(GET, key)
    const value = this.cache.getBytes(`k${key}`)
    const id = value === undefined ? 0n : idOf(key, value)
    if (id === WRONG) writeFileSync(this.evidence, `key ${key}: ${value.toString('hex')}\n`)
    this.answer(call, id)
  }

  set() {
    const key = this.key()
    const draw = this.random(20)
    const most = draw === 0 ? LARGEST : draw < 5 ? 1500 : 400
    const length = 16 + 4 * this.random((most - 16) / 4)
    const ttl = this.random(8) === 0 ? 1 + this.random(20) : 0
    const value = make(key, this.who, ++this.written, length)
    const call = this.invoke(SET, key, ttl, this.written, this.who)
    const stored = this.cache.set(`k${key}`, value, ttl ? { ttl } : undefined)
    this.answer(call, stored ? YES : NO)
  }

  delete() {
    const key = this.key()
    const call = this.invoke(DELETE, key)
    this.answer(call, this.cache.delete(`k${key}`) ? YES : NO)
  }

  take() {
    const key = this.random(this.random(2) === 0 ? BUCKETS : HOT_BUCKETS)
    const cost = 1 + this.random(3)
    const call = this.invoke(TAKE, key, 0, cost)
    this.answer(call, this.limiter.allow(`b${key}`, cost) ? YES : NO)
  }

  takeOne(limiter, operation, kind) {
    const key = this.random(FEW)
    const call = this.invoke(operation, key, 0, 1)
    this.answer(call, limiter.allow(`${kind}${key}`) ? YES : NO)
  }

  hold() {
    if (this.cursor + HELD + 3 > CAPACITY) return
    const key = this.random(FEW)
    const lease = [++this.leases, this.who]
    const call = this.invoke(ACQUIRE, key, 0, ...lease)
    const held = this.permits.tryAcquire(`p${key}`)
    this.answer(call, held === undefined ? NO : YES)
    if (held === undefined) return
    for (let left = this.random(HELD); left > 0; left--) this.get()
    if (this.random(2) === 0) {
      const renewal = this.invoke(RENEW, key, 0, ...lease)
      this.answer(renewal, held.renew() ? YES : NO)
    }
    const release = this.invoke(RELEASE, key, 0, ...lease)
    this.answer(release, held.release() ? YES : NO)
  }

  call() {
    const down = (now() / 40_000_000n) % 3n === 0n
    const fails = this.random(100) < (down ? 60 : 1)
    const call = this.invoke(BREAK, 0)
    const permit = this.breaker.tryEnter()
    if (permit === undefined) return this.answer(call, REJECTED)
    const counted = fails ? permit.failure() : permit.success()
    this.answer(call, !counted ? LATE : fails ? FAILURE : SUCCESS)
  }

  measure() {
    const number = this.random(DURATIONS)
    const call = this.invoke(RECORD_NS, number)
    this.histogram.recordNs(1000 * 2 ** number)
    this.answer(call, YES)
  }

  step() {
    const draw = this.random(100)
    if (draw < 37) this.get()
    else if (draw < 59) this.set()
    else if (draw < 65) this.delete()
    else if (draw < 77) this.take()
    else if (draw < 79) this.takeOne(this.sliding, SLIDE, 'w')
    else if (draw < 81) this.takeOne(this.rates, BOTH, 'r')
    else if (draw < 83) this.hold()
    else if (draw < 90) this.call()
    else this.measure()
  }

  /** Works until it is told to end. */
  work() {
    for (;;) {
      const order = this.read(ORDER)
      const turn = order - (order % 256)
      if (order % 256 === QUIT) return
      this.cursor = this.read(CURSOR)
      if (order % 256 === REST || this.cursor >= CAPACITY) {
        this.write(STATE, turn + RESTING)
        sleep(0.5)
        continue
      }
      this.write(STATE, turn + RUNNING)
      for (let n = 0; n < 50 && this.cursor < CAPACITY; n++) this.step()
      sleep(this.random(300) / 1000)
    }
  }
}

const [name, log, who, seed] = process.argv.slice(2)
const region = open(name, { create: false })
new Worker(region, log, Number(who), Number(seed)).work()
region.close()
