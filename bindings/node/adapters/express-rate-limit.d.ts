import type { CounterSource } from './counter.js'

/** What express-rate-limit is told of a client. */
export interface ClientHits {
  totalHits: number
  resetTime: Date
}

export type ForebayStoreOptions = CounterSource & {
  /**
   * What is put before each key: default the counter's name and a colon. Stores
   * that share a counter have different ones, unless they are to share limits.
   */
  prefix?: string | undefined
}

/**
 * A `Store` for express-rate-limit 8: every worker that opens the same
 * region shares the limit. A store is for one `rateLimit()`; make others, with
 * another `name` or `prefix`, for others.
 *
 * A window begins with a client's first hit, and counts at most 8,388,607.
 */
export class ForebayStore {
  constructor(options: ForebayStoreOptions)
  /** `false`: others count the same keys. */
  localKeys: boolean
  prefix: string
  /** Called by express-rate-limit. */
  init(options: { windowMs: number }): void
  get(key: string): ClientHits | undefined
  increment(key: string): ClientHits
  decrement(key: string): void
  resetKey(key: string): void
  /** Ends the windows of all keys of the counter, those of other stores too. */
  resetAll(): void
  /** Nothing: the region is closed by whoever opened it. */
  shutdown(): void
}
