'use strict'

// What the adapters share. Each keeps its counts in a window counter, so all
// processes that open it share one limit; none has a timer, or anything else
// that keeps a process alive.

const { Region } = require('../lib/region.js')
const { WindowCounter } = require('../lib/window.js')
const { mustBeOptions, typeName, wrongType } = require('../lib/errors.js')

// Windows and blocks are at most four and a half years: what is longer is four.
const LONGEST = 4 * 365 * 86_400_000

/** The counter that an adapter's options name; `others` are its own options. */
function counterOf(options, others = []) {
  const places = ['region', 'name', 'maxKeys']
  mustBeOptions(options, ['counter', ...places, ...others])
  const { counter, region, name, maxKeys } = options
  if (counter === undefined) {
    if (!(region instanceof Region)) {
      throw wrongType('region', typeName(region), 'a Region beside name, or a WindowCounter as counter')
    }
    return region.window(name, maxKeys === undefined ? undefined : { maxKeys })
  }
  if (!(counter instanceof WindowCounter)) {
    throw wrongType('counter', typeName(counter), 'a WindowCounter')
  }
  for (const place of places) {
    if (options[place] !== undefined) {
      throw wrongType(place, 'one beside a counter', 'either a counter, or region and name')
    }
  }
  return counter
}

/** A time in ms that a counter takes: nothing is longer than it can be. */
function cut(ms) {
  return typeof ms === 'number' ? Math.min(ms, LONGEST) : ms
}

/**
 * Counts a hit: how many there are, and ms until they are over. One that could
 * not be counted, as others kept changing the key's slots, is told as one more,
 * so that it is refused where the limit is reached.
 */
function hit(counter, key, window, options) {
  const { counted, count, resetsIn } = counter.hit(key, cut(window), options)
  return { count: counted ? count : count + 1, resetsIn }
}

module.exports = { counterOf, cut, hit }
