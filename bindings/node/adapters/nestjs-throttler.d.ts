import type { CounterSource } from './counter.js'

/** What the guard is told of a key; times in whole seconds, rounded up. */
export interface ThrottlerRecord {
  totalHits: number
  timeToExpire: number
  isBlocked: boolean
  timeToBlockExpire: number
}

export type ForebayThrottlerStorageOptions = CounterSource

/**
 * A `ThrottlerStorage` for @nestjs/throttler 6: every worker that opens the
 * same region shares the limits. One is enough for all throttlers.
 *
 * A window begins with the first hit and is `ttl` long. Beyond the limit a key is
 * blocked for `blockDuration` (by default `ttl`), counts nothing meanwhile, and
 * starts anew then; with a `blockDuration` of 0 it waits for the end of its window.
 */
export class ForebayThrottlerStorage {
  constructor(options: ForebayThrottlerStorageOptions)
  /** `ttl` and `blockDuration` in milliseconds. */
  increment(
    key: string,
    ttl: number,
    limit: number,
    blockDuration: number,
    throttlerName: string,
  ): Promise<ThrottlerRecord>
}
