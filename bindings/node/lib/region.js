'use strict'

const { native, KEY, mustBeOurs } = require('./native.js')
const { Limiter } = require('./limiter.js')
const { Waiters } = require('./waiting.js')
const { Cache } = require('./cache.js')
const { Breaker } = require('./breaker.js')
const { Histogram } = require('./histogram.js')
const { WindowCounter } = require('./window.js')
const { Permits } = require('./permits.js')

function open(nameOrPath, options) {
  return new Region(KEY, native.open(nameOrPath, options))
}

function privateRegion(options) {
  return new Region(KEY, native.privateRegion(options))
}

class Region {
  #native
  #waiters

  constructor(key, native) {
    mustBeOurs(key, 'Region', 'open(name) or privateRegion()')
    this.#native = native
    this.#waiters = new Waiters(native.manualClock)
  }

  limiter(name, rate) {
    return new Limiter(KEY, name, this.#native.limiter(name, rate), this.#waiters)
  }

  cache(name, options) {
    return new Cache(KEY, name, this.#native.cache(name, options))
  }

  breaker(name, options) {
    return new Breaker(KEY, name, this.#native.breaker(name, options))
  }

  histogram(name) {
    return new Histogram(KEY, name, this.#native.histogram(name))
  }

  window(name, options) {
    return new WindowCounter(KEY, name, this.#native.window(name, options))
  }

  permits(name, options) {
    return new Permits(KEY, name, this.#native.permits(name, options))
  }

  get path() {
    return this.#native.path
  }

  get isShared() {
    return this.#native.isShared
  }

  get bytes() {
    return this.#native.bytes
  }

  objects() {
    return this.#native.objects()
  }

  stats() {
    return this.#native.stats()
  }

  events(since) {
    return this.#native.events(since)
  }

  now() {
    return this.#native.now()
  }

  advance(duration) {
    this.#native.advance(duration)
    this.#waiters.look()
  }

  close() {
    this.#native.close()
    this.#waiters.look()
  }
}

// `using region = open('shop')`, where the language has it.
if (Symbol.dispose) Region.prototype[Symbol.dispose] = Region.prototype.close

module.exports = { Region, open, privateRegion }
