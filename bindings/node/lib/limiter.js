'use strict'

const { native, KEY, mustBeOurs } = require('./native.js')
const { Limited, wrongType, typeName, mustBeOptions, mustBeSignal } = require('./errors.js')

// Where the native half leaves verdicts, one behind the other: limit, remaining,
// retry after (ms, -1 for never), reset after (ms), window (ms), 1 if allowed.
const { numbers } = native
const VERDICT = 6

class Verdict {
  constructor(allowed, at = 0) {
    this.allowed = allowed
    this.limit = numbers[at]
    this.remaining = numbers[at + 1]
    this.retryAfter = numbers[at + 2] < 0 ? null : numbers[at + 2]
    this.resetAfter = numbers[at + 3]
    this.window = numbers[at + 4]
  }

  headers(name, styles, now) {
    return headers([[name, this]], styles, now)
  }
}

class Reservation {
  // Until it is cancelled.
  #native

  constructor(key, native) {
    mustBeOurs(key, 'Reservation', 'limiter.reserve(key, maxWait)')
    this.#native = native
    this.due = native.due
  }

  get wait() {
    return this.#native === undefined ? 0 : this.#native.wait()
  }

  cancel() {
    const native = this.#native
    this.#native = undefined
    return native !== undefined && native.cancel()
  }
}

/** One of `takeAll`'s requests, as the native half takes it. */
let row

class Limiter {
  static {
    row = (request) => {
      mustBeOptions(request, ['limiter', 'key', 'cost', 'tier'], 'request')
      const { limiter, key, cost, tier } = request
      if (typeof limiter !== 'object' || limiter === null || !(#number in limiter)) {
        throw wrongType('limiter', typeName(limiter), 'a Limiter')
      }
      return [limiter.#number, key, cost, tier]
    }
  }

  #allow
  #take
  #peek
  #enforce
  #refund
  #penalize
  #block
  #unblock
  #reserve
  #acquire
  #reset
  #clear
  #stats
  #tierStats
  #topRefused
  #mark
  #forgetRefused
  #number
  #waiters

  constructor(key, name, native, waiters) {
    mustBeOurs(key, 'Limiter', 'region.limiter(name, rate)')
    this.name = name
    this.#allow = native.allow
    this.#take = native.take
    this.#peek = native.peek
    this.#enforce = native.enforce
    this.#refund = native.refund
    this.#penalize = native.penalize
    this.#block = native.block
    this.#unblock = native.unblock
    this.#reserve = native.reserve
    this.#acquire = native.acquire
    this.#reset = native.reset
    this.#clear = native.clear
    this.#stats = native.stats
    this.#tierStats = native.tierStats
    this.#topRefused = native.topRefused
    this.#mark = native.mark
    this.#forgetRefused = native.forgetRefused
    this.#number = native.number
    this.#waiters = waiters
  }

  allow(key, cost, tier) {
    const allow = this.#allow
    // The native half reads only the arguments that it is given.
    return cost === undefined && tier === undefined ? allow(key) : allow(key, cost, tier)
  }

  take(key, cost, tier) {
    const take = this.#take
    return new Verdict(
      cost === undefined && tier === undefined ? take(key) : take(key, cost, tier),
    )
  }

  peek(key, cost, tier) {
    const peek = this.#peek
    return new Verdict(
      cost === undefined && tier === undefined ? peek(key) : peek(key, cost, tier),
    )
  }

  enforce(key, cost, tier) {
    const enforce = this.#enforce
    // `true` or the sentence of the refusal.
    const answer =
      cost === undefined && tier === undefined ? enforce(key) : enforce(key, cost, tier)
    if (answer === true) return new Verdict(true)
    throw new Limited(answer, this.name, new Verdict(false))
  }

  refund(key, tokens, tier) {
    const refund = this.#refund
    return new Verdict(
      tokens === undefined && tier === undefined ? refund(key) : refund(key, tokens, tier),
    )
  }

  penalize(key, tokens, tier) {
    const penalize = this.#penalize
    return new Verdict(
      tokens === undefined && tier === undefined ? penalize(key) : penalize(key, tokens, tier),
    )
  }

  block(key, time) {
    const block = this.#block
    block(key, time)
  }

  unblock(key) {
    const unblock = this.#unblock
    return unblock(key)
  }

  reserve(key, maxWait, options) {
    if (options !== undefined) mustBeOptions(options, ['cost', 'tier'])
    const reserve = this.#reserve
    const reserved = reserve(key, maxWait, options?.cost, options?.tier)
    return reserved && new Reservation(KEY, reserved)
  }

  // `async`, so that bad input is a rejection as well.
  async acquire(key, timeout, options) {
    if (options !== undefined) mustBeOptions(options, ['cost', 'tier', 'signal'])
    const signal = options?.signal
    mustBeSignal(signal)
    signal?.throwIfAborted()
    const acquire = this.#acquire
    const place = acquire(key, timeout, options?.cost, options?.tier)
    // Admitted or refused at once.
    if (typeof place === 'boolean') return new Verdict(place)
    return this.#waiters.wait(place, signal)
  }

  reset(key) {
    const reset = this.#reset
    return reset(key)
  }

  clear() {
    const clear = this.#clear
    clear()
  }

  stats() {
    const stats = this.#stats
    return stats()
  }

  tierStats() {
    const tierStats = this.#tierStats
    return tierStats()
  }

  topRefused() {
    const topRefused = this.#topRefused
    return topRefused()
  }

  mark(key) {
    const mark = this.#mark
    return mark(key)
  }

  forgetRefused() {
    const forgetRefused = this.#forgetRefused
    forgetRefused()
  }
}

function takeAll(requests) {
  if (!Array.isArray(requests)) {
    throw wrongType('requests', typeName(requests), 'an array of {limiter, key, cost, tier}')
  }
  const rows = Array.from(requests, row)
  const allowed = native.takeAll(rows)
  const verdict = (_, i) => new Verdict(numbers[VERDICT * i + 5] === 1, VERDICT * i)
  return { allowed, verdicts: rows.map(verdict) }
}

function headers(limits, styles = 'legacy', now = Date.now()) {
  return native.headers(limits, styles, now instanceof Date ? now.getTime() : now)
}

function clientAddress(peer, options) {
  return native.clientAddress(peer, options)
}

module.exports = { Limiter, Verdict, Reservation, takeAll, headers, clientAddress }
