'use strict'

// Waiting without stopping the loop: a timer until it is time, and a look at
// the region's clock when it fires, since timers may be early.

const { Verdict } = require('./limiter.js')

// Node's timers take no more.
const LONGEST = 2 ** 31 - 1

// A manual clock may be moved by another process, which wakes nobody here.
const MANUAL = 2

// One listener a signal, however many wait with it: a signal for the end of the
// program is many waiters', and Node takes more than ten for a leak.
const heard = new WeakMap()

function listen(signal, abort) {
  let { aborts } = heard.get(signal) ?? {}
  if (aborts === undefined) {
    aborts = new Set()
    // The last one first: a place gives back what nobody has taken after it.
    const fire = () => [...aborts].reverse().forEach((abort) => abort())
    heard.set(signal, { aborts, fire })
    signal.addEventListener('abort', fire)
  }
  aborts.add(abort)
}

function unlisten(signal, abort) {
  const { aborts, fire } = heard.get(signal)
  aborts.delete(abort)
  if (aborts.size > 0) return
  heard.delete(signal)
  signal.removeEventListener('abort', fire)
}

/** Who waits for places in the queues of one region's limiters. */
class Waiters {
  #longest
  #looks = new Set()

  constructor(manualClock) {
    this.#longest = manualClock ? MANUAL : LONGEST
  }

  /** All look whether it is time: the clock was moved, or the region closed. */
  look() {
    for (const look of this.#looks) look()
  }

  /**
   * Waits for the place; then the verdict. Rejects when the region is closed,
   * and when the signal fires: either way the place is given up.
   */
  wait(place, signal) {
    return new Promise((resolve, reject) => {
      let timer
      const look = () => {
        clearTimeout(timer)
        try {
          const wait = place.wait()
          if (wait === 0) return settle(resolve, new Verdict(place.verdict()))
          timer = setTimeout(look, Math.min(Math.ceil(wait), this.#longest))
        } catch (closed) {
          settle(reject, closed)
        }
      }
      const abort = () => {
        place.cancel()
        settle(reject, signal.reason)
      }
      const settle = (how, what) => {
        clearTimeout(timer)
        if (signal !== undefined) unlisten(signal, abort)
        this.#looks.delete(look)
        how(what)
      }
      if (signal !== undefined) listen(signal, abort)
      this.#looks.add(look)
      look()
    })
  }
}

module.exports = { Waiters }
