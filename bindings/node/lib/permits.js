'use strict'

const { native, KEY, mustBeOurs } = require('./native.js')
const { Refused } = require('./errors.js')

// After a refusal: the wait in ms, -1 where nobody can tell.
const { numbers } = native

// A lease that is collected without having been released is released then.
const lost = new FinalizationRegistry(({ release, number }) => release(number))

class Lease {
  #native
  // Until it is released.
  #number

  constructor(key, native, number) {
    mustBeOurs(key, 'Lease', 'permits.tryAcquire(key) or permits.enforce(key)')
    this.#native = native
    this.#number = number
    lost.register(this, { release: native.release, number }, this)
  }

  release() {
    const number = this.#number
    if (number === undefined) return false
    this.#number = undefined
    lost.unregister(this)
    return this.#native.release(number)
  }

  renew() {
    return this.#number !== undefined && this.#native.renew(this.#number)
  }

  get endsIn() {
    return this.#number === undefined ? 0 : this.#native.endsIn(this.#number)
  }
}

// `using lease = permits.tryAcquire(key)`, where the language has it.
if (Symbol.dispose) {
  Lease.prototype[Symbol.dispose] = function dispose() {
    this.release()
  }
}

class Permits {
  #native
  #tryAcquire

  constructor(key, name, native) {
    mustBeOurs(key, 'Permits', 'region.permits(name, options)')
    this.name = name
    this.#native = native
    this.#tryAcquire = native.tryAcquire
  }

  tryAcquire(key) {
    const tryAcquire = this.#tryAcquire
    // A lease's number, or why there is none.
    const answer = tryAcquire(key)
    return typeof answer === 'number' ? new Lease(KEY, this.#native, answer) : undefined
  }

  enforce(key) {
    const tryAcquire = this.#tryAcquire
    const answer = tryAcquire(key)
    if (typeof answer === 'number') return new Lease(KEY, this.#native, answer)
    const retryAfter = numbers[0] < 0 ? null : numbers[0]
    throw new Refused(this.#native.refusal(answer, retryAfter), this.name, answer, retryAfter)
  }

  inUse(key) {
    return this.#native.inUse(key)
  }

  stats() {
    return this.#native.stats()
  }
}

module.exports = { Permits, Lease }
