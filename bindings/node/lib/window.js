'use strict'

const { native, mustBeOurs } = require('./native.js')
const { mustBeOptions } = require('./errors.js')

// Where the native half leaves a count: hits, and ms until the window ends.
const { numbers } = native

class WindowCounter {
  #hit
  #get
  #decrement
  #reset
  #block
  #blockedFor
  #unblock
  #clear
  #stats

  constructor(key, name, native) {
    mustBeOurs(key, 'WindowCounter', 'region.window(name)')
    this.name = name
    this.#hit = native.hit
    this.#get = native.get
    this.#decrement = native.decrement
    this.#reset = native.reset
    this.#block = native.block
    this.#blockedFor = native.blockedFor
    this.#unblock = native.unblock
    this.#clear = native.clear
    this.#stats = native.stats
  }

  hit(key, window, options) {
    if (options !== undefined) mustBeOptions(options, ['hits', 'limit'])
    const hit = this.#hit
    const counted = hit(key, window, options?.hits, options?.limit)
    return { counted, count: numbers[0], resetsIn: numbers[1] }
  }

  get(key) {
    const get = this.#get
    get(key)
    return { count: numbers[0], resetsIn: numbers[1] }
  }

  decrement(key, hits) {
    const decrement = this.#decrement
    decrement(key, hits)
    return { count: numbers[0], resetsIn: numbers[1] }
  }

  reset(key) {
    const reset = this.#reset
    return reset(key)
  }

  block(key, time) {
    const block = this.#block
    block(key, time)
  }

  blockedFor(key) {
    const blockedFor = this.#blockedFor
    return blockedFor(key)
  }

  unblock(key) {
    const unblock = this.#unblock
    return unblock(key)
  }

  clear() {
    const clear = this.#clear
    clear()
  }

  stats() {
    const stats = this.#stats
    return stats()
  }
}

module.exports = { WindowCounter }
