'use strict'

const { native, mustBeOurs } = require('./native.js')
const { makeError, wrongType, typeName } = require('./errors.js')

// `numbers[0]` is the codec of the value just read; `bytes` holds it when the
// native half answers with a length.
const { numbers } = native
const bytes = Buffer.from(native.bytes.buffer)
const { bytes: BYTES, text: TEXT, json: JSON_TEXT } = native.codecs
const CODEC_NAMES = { [BYTES]: 'bytes', [TEXT]: 'text', [JSON_TEXT]: 'json' }

class Cache {
  #get
  #getBytes
  #entry
  #set
  #has
  #delete
  #clear
  #size
  #stats

  constructor(key, name, native) {
    mustBeOurs(key, 'Cache', 'region.cache(name, options)')
    this.name = name
    this.#get = native.get
    this.#getBytes = native.getBytes
    this.#entry = native.entry
    this.#set = native.set
    this.#has = native.has
    this.#delete = native.delete
    this.#clear = native.clear
    this.#size = native.size
    this.#stats = native.stats
  }

  get(key) {
    const get = this.#get
    return decode(get(key))
  }

  getBytes(key) {
    const getBytes = this.#getBytes
    const found = getBytes(key)
    return typeof found === 'number' ? copy(found) : found
  }

  entry(key) {
    const entry = this.#entry
    const found = entry(key)
    if (found === undefined) return undefined
    const [codec, version, created, ttl] = numbers
    return {
      value: decode(found),
      codec: CODEC_NAMES[codec] ?? codec,
      version,
      created: new Date(created),
      ttl: ttl < 0 ? null : ttl,
    }
  }

  set(key, value, options) {
    const set = this.#set
    const ttl = options === undefined ? undefined : ttlOf(options)
    // Half a surrogate pair has no UTF-8, but JSON can write it.
    if (typeof value === 'string' && value.isWellFormed()) return set(key, value, TEXT, ttl)
    if (value instanceof Uint8Array) return set(key, value, BYTES, ttl)
    return set(key, encode(value), JSON_TEXT, ttl)
  }

  has(key) {
    const has = this.#has
    return has(key)
  }

  delete(key) {
    const remove = this.#delete
    return remove(key)
  }

  clear() {
    const clear = this.#clear
    clear()
  }

  get size() {
    const size = this.#size
    return size()
  }

  stats() {
    const stats = this.#stats
    return stats()
  }
}

/** What the native half found, as a value. */
function decode(found) {
  if (typeof found === 'number') return copy(found)
  if (typeof found !== 'string' || numbers[0] !== JSON_TEXT) return found
  try {
    return JSON.parse(found)
  } catch (cause) {
    throw makeError(
      'FB_E_CORRUPT',
      `the value is tagged as JSON and is not: ${cause.message}`,
      'core',
      cause,
    )
  }
}

/** A copy of the first `length` shared bytes: quicker than a Buffer made natively. */
function copy(length) {
  return Buffer.from(bytes.subarray(0, length))
}

function encode(value) {
  let text
  let cause
  try {
    text = JSON.stringify(value)
  } catch (error) {
    cause = error
  }
  if (text === undefined) {
    const why = cause === undefined ? '' : ` (${String(cause?.message ?? cause).split('\n', 1)[0]})`
    throw wrongType(
      'value',
      `${typeName(value)}${why}`,
      'a string, a Uint8Array, or what JSON can write',
      cause,
    )
  }
  return text
}

function ttlOf(options) {
  if (options === null || typeof options !== 'object') {
    throw wrongType('options', typeName(options), 'an object with ttl')
  }
  for (const name in options) {
    if (name !== 'ttl') throw wrongType('options', JSON.stringify(name), 'ttl')
  }
  return options.ttl
}

module.exports = { Cache }
