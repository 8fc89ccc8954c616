import type { CounterSource } from './counter.js'

/** Calls back at once: how many hits there are, and ms until they are over. */
export type StoreCallback = (error: Error | null, result?: { current: number; ttl: number }) => void

export interface ForebayStore {
  incr(key: string, callback: StoreCallback, timeWindow: number, max: number): void
  /** The same without a hit. */
  read(key: string, callback: StoreCallback, timeWindow: number, max: number): void
  /** The store of a route with a limit of its own. */
  child(routeOptions: object): ForebayStore
}

/** The plugin makes the stores, with its own options. */
export interface ForebayStoreConstructor {
  new (options?: {
    continueExceeding?: boolean | undefined
    exponentialBackoff?: boolean | undefined
  }): ForebayStore
}

export type ForebayStoreOptions = CounterSource

/**
 * A `store` for @fastify/rate-limit 11: every worker that opens the same
 * region shares the limits. One is for one registration of the plugin.
 *
 * A window begins with the first hit. Routes with a limit of their own count by
 * themselves, under their method and URL; limits without a route, such as those
 * of `fastify.createRateLimit(options)`, under their number in the order in which
 * they are made, so make them in the same order everywhere.
 */
export function forebayStore(options: ForebayStoreOptions): ForebayStoreConstructor
