'use strict'

// A store for @fastify/rate-limit, which makes its stores itself: so this makes
// a class of them, over one counter. Keys are [route, key], and in front of what
// is beyond its limit, where that prolongs the wait, 'exceeded'.

const { counterOf, cut, hit } = require('./counter.js')

function forebayStore(options) {
  const counter = counterOf(options)
  // Limits that no route has, in the order in which they are made.
  let unrouted = 0

  return class ForebayStore {
    #route
    #continueExceeding
    #exponentialBackoff

    constructor({ continueExceeding, exponentialBackoff } = {}, route = '') {
      this.#route = route
      this.#continueExceeding = continueExceeding === true
      this.#exponentialBackoff = exponentialBackoff === true
    }

    incr(key, callback, timeWindow, max) {
      answer(callback, () => {
        const id = [this.#route, key]
        const { count, resetsIn } = hit(counter, id, timeWindow)
        if (!this.#prolongs) return { current: count, ttl: Math.ceil(resetsIn) }
        const exceeded = ['exceeded', ...id]
        if (count <= max && counter.blockedFor(exceeded) === 0) {
          return { current: count, ttl: Math.ceil(resetsIn) }
        }
        // Fewer: another process is between the steps below, or has begun with
        // them since this hit. Rather one too few than one too many.
        const current = count > max ? count : max + count
        const ttl = cut(this.#continueExceeding ? timeWindow : timeWindow * 2 ** (current - max - 1))
        // A window does not change its length: another takes its place, and the
        // mark refuses what comes in between.
        counter.block(exceeded, ttl)
        counter.reset(id)
        counter.hit(id, ttl, { hits: current })
        return { current, ttl }
      })
    }

    read(key, callback, timeWindow, max) {
      answer(callback, () => {
        const id = [this.#route, key]
        const { count, resetsIn } = counter.get(id)
        const blockedFor = this.#prolongs ? counter.blockedFor(['exceeded', ...id]) : 0
        if (blockedFor === 0 || count > max) return { current: count, ttl: Math.ceil(resetsIn) }
        return { current: max + 1, ttl: Math.ceil(blockedFor) }
      })
    }

    child(options) {
      const { method, url } = options.routeInfo ?? {}
      const route = url === undefined ? `#${(unrouted += 1)}` : `${method} ${url}`
      return new ForebayStore(options, route)
    }

    get #prolongs() {
      return this.#continueExceeding || this.#exponentialBackoff
    }
  }
}

/** Calls back once, with what `f` answers or throws. */
function answer(callback, f) {
  let result
  try {
    result = f()
  } catch (error) {
    callback(error)
    return
  }
  callback(null, result)
}

module.exports = { forebayStore }
