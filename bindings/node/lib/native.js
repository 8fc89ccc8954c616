'use strict'

// Finds and loads the engine, forebay.node: where FOREBAY_NATIVE says, else
// beside this package, else in the package for this platform.

const path = require('node:path')
const { ForebayError, makeError, wrongType } = require('./errors.js')

function* candidates() {
  const named = process.env.FOREBAY_NATIVE
  if (named) return yield path.resolve(named)
  yield path.join(__dirname, '..', 'forebay.node')
  yield `forebay-${platform()}`
}

function platform() {
  const { platform, arch } = process
  if (platform !== 'linux') return `${platform}-${arch}`
  // glibc tells its version in the report's header, musl does not.
  const glibc = process.report?.getReport().header.glibcVersionRuntime
  return `${platform}-${arch}-${glibc ? 'gnu' : 'musl'}`
}

function load() {
  const failures = []
  for (const candidate of candidates()) {
    try {
      return require(candidate)
    } catch (error) {
      failures.push(`${candidate}: ${String(error.message).split('\n', 1)[0]}`)
    }
  }
  throw new ForebayError(
    `forebay.node cannot be loaded on ${platform()} (${failures.join('; ')})`,
    'FB_E_UNSUPPORTED',
  )
}

const native = load()
native.link(makeError)

// Only `open` and the region's methods make the package's objects: they pass
// this, which nobody outside has.
const KEY = Symbol('forebay')

function mustBeOurs(key, name, from) {
  if (key !== KEY) throw wrongType(name, 'a constructor call', from)
}

module.exports = { native, KEY, mustBeOurs }
