'use strict'

// A store for express-rate-limit: hits by client in windows of `windowMs`, each
// beginning with the client's first hit.

const { typeName, wrongType } = require('../lib/errors.js')
const { counterOf, hit } = require('./counter.js')

class ForebayStore {
  // Other instances and other processes count the same keys.
  localKeys = false
  #counter
  #windowMs

  constructor(options) {
    this.#counter = counterOf(options, ['prefix'])
    const { prefix = `${this.#counter.name}:` } = options
    if (typeof prefix !== 'string') throw wrongType('prefix', typeName(prefix), 'a string')
    // express-rate-limit reads it, to tell a request that is counted twice.
    this.prefix = prefix
  }

  init({ windowMs }) {
    this.#windowMs = windowMs
  }

  get(key) {
    const { count, resetsIn } = this.#counter.get(this.prefix + key)
    return resetsIn > 0 ? told(count, resetsIn) : undefined
  }

  increment(key) {
    const { count, resetsIn } = hit(this.#counter, this.prefix + key, this.#windowMs)
    return told(count, resetsIn)
  }

  decrement(key) {
    this.#counter.decrement(this.prefix + key)
  }

  resetKey(key) {
    this.#counter.reset(this.prefix + key)
  }

  resetAll() {
    this.#counter.clear()
  }

  // The counter and its region are not this store's to close.
  shutdown() {}
}

/** Not before the window ends: dates have whole milliseconds. */
function told(totalHits, resetsIn) {
  return { totalHits, resetTime: new Date(Math.ceil(Date.now() + resetsIn)) }
}

module.exports = { ForebayStore }
