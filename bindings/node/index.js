'use strict'

// forebay for Node: what the package exports. The classes are in lib/, one file
// each; the engine is in forebay.node, which lib/native.js finds.

const { ForebayError, BreakerOpen, Limited, Refused } = require('./lib/errors.js')
const { Region, open, privateRegion } = require('./lib/region.js')
const {
  Limiter,
  Verdict,
  Reservation,
  takeAll,
  headers,
  clientAddress,
} = require('./lib/limiter.js')
const { Cache } = require('./lib/cache.js')
const { Breaker, Permit } = require('./lib/breaker.js')
const { Histogram, Snapshot } = require('./lib/histogram.js')
const { WindowCounter } = require('./lib/window.js')
const { Permits, Lease } = require('./lib/permits.js')

module.exports = {
  open,
  privateRegion,
  Region,
  Limiter,
  Verdict,
  Reservation,
  Limited,
  takeAll,
  headers,
  clientAddress,
  Cache,
  Breaker,
  Permit,
  BreakerOpen,
  Histogram,
  Snapshot,
  WindowCounter,
  Permits,
  Lease,
  Refused,
  ForebayError,
}
