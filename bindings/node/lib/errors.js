'use strict'

// Errors. Each carries `code`, the name that all languages share, and the
// engine's own sentence:
//
//   TypeError      an argument of the wrong type       FB_E_INVALID_ARGUMENT
//   RangeError     one outside of what is allowed      FB_E_INVALID_ARGUMENT, FB_E_TOO_LARGE
//   ForebayError   whatever else went wrong            FB_E_…
//   BreakerOpen    a ForebayError: do not call now     FB_REJECTED
//   Limited        a ForebayError: over the limit      FB_DENIED
//   Refused        a ForebayError: no permit now       FB_DENIED

class ForebayError extends Error {
  constructor(message, code, options) {
    super(message, options)
    this.code = code
  }
}
Object.defineProperty(ForebayError.prototype, 'name', nameOf('ForebayError'))

class BreakerOpen extends ForebayError {
  constructor(message, breaker, retryAfter) {
    super(message, 'FB_REJECTED')
    this.breaker = breaker
    this.retryAfter = retryAfter
  }
}
Object.defineProperty(BreakerOpen.prototype, 'name', nameOf('BreakerOpen'))

class Limited extends ForebayError {
  constructor(message, limiter, verdict) {
    super(message, 'FB_DENIED')
    this.limiter = limiter
    this.verdict = verdict
  }

  headers(styles, now) {
    return this.verdict.headers(this.limiter, styles, now)
  }
}
Object.defineProperty(Limited.prototype, 'name', nameOf('Limited'))

class Refused extends ForebayError {
  constructor(message, permits, reason, retryAfter) {
    super(message, 'FB_DENIED')
    this.permits = permits
    this.reason = reason
    this.retryAfter = retryAfter
  }
}
Object.defineProperty(Refused.prototype, 'name', nameOf('Refused'))

// As the language's own errors have it: inherited, not in Object.keys.
function nameOf(value) {
  return { value, writable: true, configurable: true, enumerable: false }
}

/** Makes an error. The native half calls it as well, so both make the same. */
function makeError(code, message, kind, cause) {
  const options = cause === undefined ? undefined : { cause }
  let error
  if (kind === 'type') error = new TypeError(message, options)
  else if (kind === 'range') error = new RangeError(message, options)
  else error = new ForebayError(message, code, options)
  error.code = code
  // The stack begins where the caller is, not here.
  Error.captureStackTrace(error, makeError)
  return error
}

/** An argument of the wrong type, in the words that the engine uses. */
function wrongType(argument, given, allowed, cause) {
  return makeError(
    'FB_E_INVALID_ARGUMENT',
    `${argument}: got ${given}; allowed: ${allowed}`,
    'type',
    cause,
  )
}

/** A value's type in a sentence. */
function typeName(value) {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Throws unless `f` is a function. */
function mustBeFunction(f, argument) {
  if (typeof f !== 'function') throw wrongType(argument, typeName(f), 'a function')
}

/** Throws unless `options` is an object with none but these properties. */
function mustBeOptions(options, known, argument = 'options') {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw wrongType(argument, typeName(options), `an object with ${known.join(', ')}`)
  }
  for (const name in options) {
    if (!known.includes(name)) throw wrongType(argument, JSON.stringify(name), known.join(', '))
  }
}

/** Throws unless `signal` is an AbortSignal or `undefined`. */
function mustBeSignal(signal) {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw wrongType('signal', typeName(signal), 'an AbortSignal')
  }
}

module.exports = {
  ForebayError,
  BreakerOpen,
  Limited,
  Refused,
  makeError,
  wrongType,
  typeName,
  mustBeFunction,
  mustBeOptions,
  mustBeSignal,
}
