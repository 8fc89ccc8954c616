'use strict'

// A ThrottlerStorage for @nestjs/throttler: hits by throttler and key in windows
// of `ttl`, each beginning with the first hit.

const { counterOf, cut, hit } = require('./counter.js')

class ForebayThrottlerStorage {
  #counter

  constructor(options) {
    this.#counter = counterOf(options)
  }

  // `async`, as the interface has it: bad input is a rejection.
  async increment(key, ttl, limit, blockDuration, throttlerName) {
    const id = [throttlerName, key]
    return blockDuration > 0
      ? this.#incrementOrBlock(id, ttl, limit, blockDuration)
      : this.#incrementUpTo(id, ttl, limit)
  }

  /**
   * Beyond the limit the key is blocked, whatever its window does, and starts
   * anew when the block ends. What comes meanwhile is not counted.
   */
  #incrementOrBlock(id, ttl, limit, blockDuration) {
    const counter = this.#counter
    let blockedFor = counter.blockedFor(id)
    if (blockedFor > 0) return record(limit + 1, counter.get(id).resetsIn, blockedFor)
    const { count, resetsIn } = hit(counter, id, ttl)
    if (count > limit) {
      // The block first: between the two nobody finds an empty window unblocked.
      counter.block(id, cut(blockDuration))
      counter.decrement(id, count)
      return record(count, resetsIn, counter.blockedFor(id))
    }
    // Another process may have blocked it since: then this hit was not to count.
    // It may have been in time, too; nobody can tell, so there is rather one too
    // few than one too many.
    blockedFor = counter.blockedFor(id)
    if (blockedFor === 0) return record(count, resetsIn, 0)
    counter.decrement(id)
    return record(limit + 1, resetsIn, blockedFor)
  }

  /** Without a block only what is admitted counts, and the window is waited for. */
  #incrementUpTo(id, ttl, limit) {
    const { counted, count, resetsIn } = this.#counter.hit(id, cut(ttl), { limit: whole(limit) })
    // With a limit of none there is no window.
    const wait = resetsIn > 0 ? resetsIn : ttl
    return counted ? record(count, resetsIn, 0) : record(count + 1, wait, wait)
  }
}

function record(totalHits, expiresIn, blockedFor) {
  return {
    totalHits,
    timeToExpire: seconds(expiresIn),
    isBlocked: blockedFor > 0,
    timeToBlockExpire: seconds(blockedFor),
  }
}

const seconds = (ms) => Math.ceil(ms / 1000)

/** The limit as a counter takes it: any number is one for Nest. */
function whole(limit) {
  if (limit >= Number.MAX_SAFE_INTEGER) return undefined
  return typeof limit === 'number' ? Math.max(0, Math.floor(limit)) : limit
}

module.exports = { ForebayThrottlerStorage }
