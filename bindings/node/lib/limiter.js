'use strict'

const { native, KEY, mustBeOurs } = require('./native.js')

// Where the native half leaves a verdict: limit, remaining, retry after (ms, -1
// for never), reset after (ms).
const { numbers } = native

class Verdict {
  constructor(allowed) {
    this.allowed = allowed
    this.limit = numbers[0]
    this.remaining = numbers[1]
    this.retryAfter = numbers[2] < 0 ? null : numbers[2]
    this.resetAfter = numbers[3]
  }
}

class Limiter {
  #allow
  #take
  #peek
  #reset
  #stats

  constructor(key, name, native) {
    mustBeOurs(key, 'Limiter', 'region.limiter(name, rate)')
    this.name = name
    this.#allow = native.allow
    this.#take = native.take
    this.#peek = native.peek
    this.#reset = native.reset
    this.#stats = native.stats
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

  reset(key) {
    const reset = this.#reset
    return reset(key)
  }

  stats() {
    const stats = this.#stats
    return stats()
  }
}

module.exports = { Limiter, Verdict }
