'use strict'

// The table of cases that every language runs: tests/vectors, whose README
// tells the format.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const {
  privateRegion,
  takeAll,
  headers,
  clientAddress,
  BreakerOpen,
  Limited,
  WindowCounter,
  Lease,
  Refused,
} = require('forebay')

const DIRECTORY = path.join(__dirname, '..', '..', '..', 'tests', 'vectors')
const CODECS = { bytes: 0, text: 1, json: 2 }

const ms = (ns) => ns / 1e6
const ns = (duration) => Math.round(duration * 1e6)
const orNull = (f, value) => (value === undefined || value === null ? null : f(value))
const camel = (name) => name.replace(/_[a-z]/g, (at) => at[1].toUpperCase())

/** `{max_keys, ttl_ns}` as `{maxKeys, ttl}`. */
function options({ kind, ...rest }) {
  return Object.fromEntries(
    Object.entries(rest).map(([name, value]) =>
      name.endsWith('_ns') ? [camel(name.slice(0, -3)), ms(value)] : [camel(name), value],
    ),
  )
}

function open(region, name, object) {
  switch (object.kind) {
    case 'limiter':
      return region.limiter(name, options(object))
    case 'cache':
      return region.cache(name, options(object))
    case 'breaker':
      return region.breaker(name, options(object))
    case 'histogram':
      return region.histogram(name)
    case 'window':
      return region.window(name, options(object))
    case 'permits':
      return region.permits(name, options(object))
    default:
      throw new Error(`unknown kind of object: ${object.kind}`)
  }
}

/** The key or value of a step, in whichever form it is written. */
function written(step, field) {
  if (`${field}_hex` in step) return Buffer.from(step[`${field}_hex`], 'hex')
  if (`${field}_parts` in step) return step[`${field}_parts`]
  if (`${field}_repeat` in step) {
    const [text, times] = step[`${field}_repeat`]
    return text.repeat(times)
  }
  return step[field]
}

/** The parts of `answer` that `expect` names. */
function subset(answer, expect) {
  return Object.fromEntries(Object.keys(expect).map((name) => [name, answer[name]]))
}

function verdict({ allowed, limit, remaining, retryAfter, resetAfter, window }) {
  const tokens = (n) => (n === Infinity ? 2 ** 64 : n)
  return {
    allowed,
    limit: tokens(limit),
    remaining: tokens(remaining),
    retry_after_ns: orNull(ns, retryAfter),
    reset_after_ns: ns(resetAfter),
    window_ns: ns(window),
  }
}

function counted({ counted, count, resetsIn }) {
  return { counted, count, resets_in_ns: ns(resetsIn) }
}

/** The count has what `expect` names. */
function saw(answer, expect) {
  assert.deepEqual(subset(counted(answer), expect), expect)
}

/** The verdict has what `expect` names. */
function said(answer, expect) {
  assert.deepEqual(subset(verdict(answer), expect), expect)
}

const VERBS = {
  allow: ({ object, key, cost, tier, expect }) =>
    assert.equal(object.allow(key, cost, tier), expect),
  take: ({ object, key, cost, tier, expect }) => said(object.take(key, cost, tier), expect),
  peek: ({ object, key, cost, tier, expect }) => said(object.peek(key, cost, tier), expect),
  reset: ({ object, key, expect }) => assert.equal(object.reset(key), expect),
  refund: ({ object, key, cost, tier, expect }) => said(object.refund(key, cost, tier), expect),
  penalize: ({ object, key, cost, tier, expect }) => said(object.penalize(key, cost, tier), expect),
  block: ({ object, key, for_ns: time }) => object.block(key, ms(time)),
  unblock: ({ object, key, expect }) => assert.equal(object.unblock(key), expect),
  reserve: ({ object, region, key, cost, tier, max_wait_ns: wait, as, reservations, expect }) => {
    const reservation = object.reserve(key, ms(wait), { cost, tier })
    if (expect === 'refused') return assert.equal(reservation, undefined)
    assert.equal(ns(reservation.wait), expect.wait_ns)
    if (expect.wait_ns > 0) {
      assert.equal(reservation.due, BigInt(ns(region.now()) + expect.wait_ns))
    }
    reservations.set(as, reservation)
  },
  cancel: ({ reservation, reservations, expect }) => {
    assert.equal(reservations.get(reservation).cancel(), expect)
    assert.equal(reservations.get(reservation).cancel(), false)
  },
  acquire: async ({ object, key, cost, tier, timeout_ns: timeout, expect }) =>
    said(await object.acquire(key, ms(timeout), { cost, tier }), expect),
  enforce: ({ object, key, cost, tier, message, expect }) => {
    if (message === undefined) return said(object.enforce(key, cost, tier), expect)
    assert.throws(
      () => object.enforce(key, cost, tier),
      (error) => {
        assert.ok(error instanceof Limited)
        assert.deepEqual(
          [error.message, error.code, error.limiter, error.verdict.allowed],
          [message, 'FB_DENIED', object.name, false],
        )
        return true
      },
    )
  },
  take_all: ({ opened, requests, expect, verdicts }) => {
    const answer = takeAll(
      requests.map(({ on, key, cost, tier }) => ({ limiter: opened.get(on), key, cost, tier })),
    )
    assert.equal(answer.allowed, expect)
    assert.equal(answer.verdicts.length, requests.length)
    verdicts.forEach((expected, i) => said(answer.verdicts[i], expected))
  },
  headers: ({ opened, take, styles, wall_ns: wall, expect }) => {
    const limits = take.map(({ name, on, key, cost, ...part }) => {
      const told = Object.keys(part).some((field) => field.startsWith('tell'))
      return [name, opened.get(on).take(key, cost), ...(told ? [written(part, 'tell')] : [])]
    })
    assert.deepEqual(headers(limits, styles, ms(wall)), expect)
    if (limits.length > 1 || limits[0].length > 2) return
    const [[name, verdict]] = limits
    assert.deepEqual(verdict.headers(name, styles, new Date(ms(wall))), expect)
  },
  top_refused: ({ object, expect }) => {
    const found = object.topRefused()
    assert.deepEqual(found.map(({ count, over, key }) => ({ count, over, key })), expect)
    for (const { mark, key } of found) {
      assert.match(mark, /^[0-9a-f]{16}$/)
      if (key !== null) assert.equal(mark, object.mark(key))
    }
  },
  forget_refused: ({ object }) => object.forgetRefused(),
  tier_stats: ({ object, expect }) => assert.deepEqual(object.tierStats(), expect),

  hit: ({ object, key, window_ns: window, hits, limit, expect, code, message }) => {
    const hit = () => object.hit(key, ms(window), { hits, limit })
    if (code === undefined) saw(hit(), expect)
    else assert.throws(hit, { name: 'RangeError', code, message })
  },
  decrement: ({ object, key, hits, expect }) => saw(object.decrement(key, hits), expect),
  blocked_for: ({ object, key, expect_ns: expect }) =>
    assert.equal(ns(object.blockedFor(key)), expect),

  // `enforce` tells why there is none; leases come from either verb in turn.
  try_acquire: ({ object, key, as, leases, expect }) => {
    if (expect === 'lease') {
      const lease = leases.size % 2 === 0 ? object.tryAcquire(key) : object.enforce(key)
      assert.ok(lease instanceof Lease)
      return leases.set(as, lease)
    }
    assert.throws(
      () => object.enforce(key),
      (error) => {
        assert.ok(error instanceof Refused)
        assert.deepEqual([error.code, error.permits], ['FB_DENIED', object.name])
        const told = { refused: error.reason, retry_after_ns: orNull(ns, error.retryAfter) }
        assert.deepEqual(subset(told, expect), expect)
        return true
      },
    )
  },
  release: ({ lease, leases, expect }) => {
    assert.equal(leases.get(lease).release(), expect)
    assert.equal(leases.get(lease).release(), false)
  },
  renew: ({ lease, leases, expect }) => assert.equal(leases.get(lease).renew(), expect),
  ends_in: ({ lease, leases, expect_ns: expect }) =>
    assert.equal(ns(leases.get(lease).endsIn), expect),
  in_use: ({ object, key, expect }) => assert.equal(object.inUse(key), expect),

  client_address: ({ peer, expect, code, message, ...step }) => {
    const address = () =>
      clientAddress(peer, {
        forwardedFor: step.forwarded_for,
        trustedHops: step.trusted_hops,
        ipv6Prefix: step.ipv6_prefix,
      })
    if (code === undefined) assert.equal(address(), expect)
    else assert.throws(address, { name: 'RangeError', code, message })
  },

  set: ({ object, key, expect, ...step }) => {
    const value = written(step, 'value')
    const ttl = 'ttl_ns' in step ? { ttl: orNull(ms, step.ttl_ns) } : undefined
    const stored = step.codec === 'text' ? value : Buffer.from(value)
    assert.equal(object.set(key, stored, ttl), expect)
  },
  get: ({ object, key, ...step }) => {
    if (object instanceof WindowCounter) return saw(object.get(key), step.expect)
    const expect = written(step, 'expect')
    const found = object.getBytes(key)
    assert.deepEqual(found, expect === null ? undefined : Buffer.from(expect))
  },
  contains: ({ object, key, expect }) => assert.equal(object.has(key), expect),
  delete: ({ object, key, expect }) => assert.equal(object.delete(key), expect),
  entry: ({ object, region, epoch, key, expect }) => {
    const entry = object.entry(key)
    if (expect === null) return assert.equal(entry, undefined)
    const { age_ns: age, ...exact } = expect
    const told = {
      value: String(entry.value),
      codec: CODECS[entry.codec] ?? entry.codec,
      version: entry.version,
      ttl_ns: orNull(ns, entry.ttl),
    }
    assert.deepEqual(subset(told, exact), exact)
    // A Date has whole milliseconds.
    if (age !== undefined) {
      const given = region.now() - (entry.created - epoch)
      assert.ok(Math.abs(given - ms(age)) <= 1, `age: ${given} ms, not ${ms(age)}`)
    }
  },
  clear: ({ object }) => object.clear(),
  len: ({ object, expect }) => assert.equal(object.size, expect),

  enter: ({ object, as, permits, expect, retry_after_ns: retryAfter }) => {
    if (expect === 'rejected') {
      assert.throws(
        () => object.enter(),
        (error) => {
          assert.ok(error instanceof BreakerOpen)
          if (retryAfter !== undefined) assert.equal(ns(error.retryAfter), retryAfter)
          return true
        },
      )
    } else {
      assert.equal(expect, 'permit')
      const permit = object.enter()
      if (as !== undefined) permits.set(as, permit)
      // Without a name it is kept as well: collected, it would be a failure.
      else permits.set(permit, permit)
    }
  },
  success: ({ permit, permits }) => permits.get(permit).success(),
  failure: ({ permit, permits }) => permits.get(permit).failure(),
  ignore: ({ permit, permits }) => permits.get(permit).ignore(),
  state: ({ object, expect }) => assert.equal(object.state, expect),

  record: ({ object, ns }) => object.recordNs(ns),
  percentile: ({ object, percent, expect_ns: expect }) =>
    assert.equal(orNull(ns, object.percentile(percent)), expect),
  snapshot: ({ object, expect }) => {
    const { count, sum, min, max } = object.snapshot()
    const told = { count, sum_ns: ns(sum), min_ns: orNull(ns, min), max_ns: orNull(ns, max) }
    assert.deepEqual(subset(told, expect), expect)
  },

  stats: ({ object, expect }) => {
    const stats = object.stats()
    const told = Object.fromEntries(Object.keys(expect).map((name) => [name, stats[camel(name)]]))
    assert.deepEqual(told, expect)
  },
}

async function run({ objects, steps, error }) {
  const region = privateRegion({ bytes: 4 << 20, manualClock: true })
  if (error) {
    const [[name, object]] = Object.entries(objects)
    assert.throws(() => open(region, name, object), error)
    return
  }
  // When the region was made by the wall clock, which only entries tell.
  let epoch
  if (steps.some((step) => step.expect?.age_ns !== undefined)) {
    const clock = region.cache('clock', { bytes: 65536 })
    clock.set('epoch', '')
    epoch = clock.entry('epoch').created
  }
  const opened = new Map(
    Object.entries(objects).map(([name, object]) => [name, open(region, name, object)]),
  )
  const permits = new Map()
  const reservations = new Map()
  const leases = new Map()
  for (const [at, step] of steps.entries()) {
    for (let time = 0; time < (step.times ?? 1); time += 1) {
      if ('advance_ns' in step) {
        region.advance(ms(step.advance_ns))
        continue
      }
      const verb = VERBS[step.do]
      assert.ok(verb, `unknown do: ${step.do}`)
      // A step that is not `on` an object is on the only one, or on none.
      const object = opened.get(step.on) ?? opened.values().next().value
      const key = written(step, 'key')
      try {
        const named = { permits, reservations, leases }
        await verb({ ...step, ...named, object, opened, region, epoch, key })
      } catch (failure) {
        failure.message = `step ${at} (${JSON.stringify(step)}): ${failure.message}`
        throw failure
      }
    }
  }
  region.close()
}

let count = 0
for (const file of fs.readdirSync(DIRECTORY).filter((name) => name.endsWith('.json'))) {
  const { cases } = JSON.parse(fs.readFileSync(path.join(DIRECTORY, file), 'utf8'))
  for (const one of cases) {
    count += 1
    test(`${path.basename(file, '.json')}: ${one.name}`, () => run(one))
  }
}

test('there are cases', () => assert.ok(count > 0))
