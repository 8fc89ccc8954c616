'use strict'

const { KEY, mustBeOurs } = require('./native.js')
const { mustBeFunction } = require('./errors.js')

class Snapshot {
  #percentile

  constructor(key, native) {
    mustBeOurs(key, 'Snapshot', 'histogram.snapshot()')
    this.count = native.count
    this.sum = native.sum
    this.mean = native.mean
    this.min = native.min
    this.max = native.max
    this.buckets = native.buckets
    this.#percentile = native.percentile
  }

  percentile(percent) {
    const percentile = this.#percentile
    return percentile(percent)
  }
}

class Histogram {
  #record
  #recordNs
  #percentile
  #snapshot

  constructor(key, name, native) {
    mustBeOurs(key, 'Histogram', 'region.histogram(name)')
    this.name = name
    this.#record = native.record
    this.#recordNs = native.recordNs
    this.#percentile = native.percentile
    this.#snapshot = native.snapshot
  }

  record(ms) {
    const record = this.#record
    record(ms)
  }

  recordNs(ns) {
    const recordNs = this.#recordNs
    recordNs(ns)
  }

  start() {
    const started = performance.now()
    return () => {
      const ms = performance.now() - started
      try {
        this.record(ms)
      } catch (error) {
        // Closed meanwhile: what was timed must not fail for it.
        if (error.code !== 'FB_E_CLOSED') throw error
      }
      return ms
    }
  }

  time(f) {
    mustBeFunction(f, 'f')
    const stop = this.start()
    let result
    try {
      result = f()
    } catch (error) {
      stop()
      throw error
    }
    if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
      return Promise.resolve(result).finally(stop)
    }
    stop()
    return result
  }

  percentile(percent) {
    const percentile = this.#percentile
    return percentile(percent)
  }

  snapshot() {
    const snapshot = this.#snapshot
    return new Snapshot(KEY, snapshot())
  }
}

module.exports = { Histogram, Snapshot }
