'use strict'

const { native, KEY, mustBeOurs } = require('./native.js')
const { BreakerOpen, mustBeFunction, mustBeOptions, mustBeSignal } = require('./errors.js')

// After `enter`: a permit's high and low half, or the wait in ms.
const { numbers } = native

const SUCCESS = 0
const FAILURE = 1
const IGNORED = 2

// A permit that is collected without a word was a call that got lost.
const lost = new FinalizationRegistry(({ leave, high, low }) => leave(high, low, FAILURE))

class Permit {
  #leave
  #high
  #low

  constructor(key, leave) {
    mustBeOurs(key, 'Permit', 'breaker.enter() or breaker.tryEnter()')
    this.#leave = leave
    this.#high = numbers[0]
    this.#low = numbers[1]
    lost.register(this, { leave, high: this.#high, low: this.#low }, this)
  }

  success() {
    return this.#say(SUCCESS)
  }

  failure() {
    return this.#say(FAILURE)
  }

  ignore() {
    return this.#say(IGNORED)
  }

  #say(outcome) {
    const leave = this.#leave
    if (leave === undefined) return false
    this.#leave = undefined
    lost.unregister(this)
    return leave(this.#high, this.#low, outcome)
  }
}

// `using permit = breaker.enter()`: left without a word, it is a failure.
if (Symbol.dispose) {
  Permit.prototype[Symbol.dispose] = function dispose() {
    this.failure()
  }
}

class Breaker {
  #enter
  #leave
  #rejection
  #state
  #stats

  constructor(key, name, native) {
    mustBeOurs(key, 'Breaker', 'region.breaker(name, options)')
    this.name = name
    this.#enter = native.enter
    this.#leave = native.leave
    this.#rejection = native.rejection
    this.#state = native.state
    this.#stats = native.stats
  }

  enter() {
    const enter = this.#enter
    if (enter()) return new Permit(KEY, this.#leave)
    throw this.#rejected()
  }

  tryEnter() {
    const enter = this.#enter
    return enter() ? new Permit(KEY, this.#leave) : undefined
  }

  call(f, options) {
    mustBeFunction(f, 'f')
    if (options !== undefined) checkCallOptions(options)
    const enter = this.#enter
    const leave = this.#leave
    if (!enter()) {
      const rejected = this.#rejected()
      if (options?.fallback !== undefined) return options.fallback(rejected)
      throw rejected
    }
    const high = numbers[0]
    const low = numbers[1]
    let result
    try {
      result = f()
    } catch (error) {
      return failed(leave, high, low, error, options)
    }
    if (isThenable(result)) {
      return Promise.resolve(result).then(
        (value) => {
          leave(high, low, SUCCESS)
          return value
        },
        (error) => failed(leave, high, low, error, options),
      )
    }
    leave(high, low, SUCCESS)
    return result
  }

  // `async`, so that a rejection is one of the promise's as well.
  async exec(f, options) {
    return this.call(f, options)
  }

  get state() {
    const state = this.#state
    return state()
  }

  stats() {
    const stats = this.#stats
    return stats()
  }

  #rejected() {
    const retryAfter = numbers[0]
    const rejection = this.#rejection
    return new BreakerOpen(rejection(retryAfter), this.name, retryAfter)
  }
}

/** Reports a call that threw; answers with the fallback or throws on. */
function failed(leave, high, low, error, options) {
  const signal = options?.signal
  if (signal?.aborted && (error === signal.reason || error?.name === 'AbortError')) {
    // The caller gave up: that says nothing of what was called.
    leave(high, low, IGNORED)
    throw error
  }
  leave(high, low, FAILURE)
  if (options?.fallback !== undefined) return options.fallback(error)
  throw error
}

function isThenable(value) {
  return value !== null && typeof value === 'object' && typeof value.then === 'function'
}

function checkCallOptions(options) {
  mustBeOptions(options, ['signal', 'fallback'])
  const { signal, fallback } = options
  mustBeSignal(signal)
  if (fallback !== undefined) mustBeFunction(fallback, 'fallback')
}

module.exports = { Breaker, Permit }
