/// <reference types="node" />

/**
 * A cache, rate limits, circuit breakers and latency histograms in one region
 * of memory: private to the process, or a file that every worker of the machine
 * maps, in whatever language it is written.
 *
 * Every call is synchronous and short, but for {@link Limiter.acquire}, which
 * may wait and is a promise. Durations are milliseconds (fractions
 * are fine) or text: `'250ms'`, `'10s'`, `'5m'`, `'1h'`, `'1d'`. Counters are
 * numbers; above 2^53 they lose their last bits.
 *
 * Errors carry `code` (`'FB_E_…'`, the same in every language): a `TypeError`
 * for an argument of the wrong type, a `RangeError` for one outside of what is
 * allowed, a {@link ForebayError} for the rest.
 *
 * Everything works in worker threads: load the package and open the region by
 * its path in each; the process maps it once.
 *
 * @packageDocumentation
 */

/** Milliseconds, or text such as `'5m'`. Not negative, finite. */
export type Duration = number | string

/**
 * What names a bucket or an entry: text (as UTF-8), bytes, or parts, which are
 * joined so that `['a', 'bc']` and `['ab', 'c']` differ. A whole number as a
 * part is its decimal text. Text with half of a surrogate pair is refused.
 */
export type Key = string | Uint8Array | readonly (string | Uint8Array | number)[]

/** How to open a region. */
export interface RegionOptions {
  /** Size of a region that is created, a multiple of 8: default 16 MiB. An existing one keeps its own. */
  bytes?: number
  /**
   * Permission bits of a created file: `0o600` (default), or `0o660` to share it
   * with a group. An existing file that lets in more is refused.
   */
  mode?: number
  /** `false`: attach only; a missing file is `FB_E_NOT_FOUND`. */
  create?: boolean
  /** Start anew unless another live process has the region open. */
  fresh?: boolean
  /** The last process to close it removes the file. Fixed when created. */
  ephemeral?: boolean
  /** The clock stands still until {@link Region.advance}: for tests. Fixed when created. */
  manualClock?: boolean
}

/**
 * Opens a shared region, creating it if it is not there.
 *
 * @param nameOrPath a name of 1 to 48 of `A-Za-z0-9._-`, not beginning with `.`
 * (the file is at the standard place), or a path, which contains a `/`.
 * @throws ForebayError whose code tells the cause: `FB_E_PERMISSION`,
 * `FB_E_CORRUPT`, `FB_E_LAYOUT`, `FB_E_OUT_OF_SPACE`, …
 */
export function open(nameOrPath: string, options?: RegionOptions): Region

/** Makes a region that only this thread sees: nothing to set up, nothing left. */
export function privateRegion(options?: Pick<RegionOptions, 'bytes' | 'manualClock'>): Region

/**
 * A region of memory and the objects in it.
 *
 * Objects live in the region under their names, of 1 to 48 bytes: whoever opens
 * the same name gets the same object. Sizes are fixed by whoever came first and
 * a different one is `FB_E_GEOMETRY`; rates, TTLs and thresholds are those of
 * whoever opened last, for all.
 */
export class Region {
  private constructor()
  /** The file, or `undefined` for a private region. */
  readonly path: string | undefined
  /** Whether other processes can open it. */
  readonly isShared: boolean
  /** Its size. */
  readonly bytes: number

  /**
   * Creates a limiter or attaches to it.
   *
   * @param rate `'60/min burst 90'`, `{rate: 60, per: '1m', burst: 90}`, either
   * with `tiers`, `algorithm` and the like, or several rates that all must be
   * kept to, `'10/s and 1000/day'` or an array; without it, attaches to a limiter
   * that is there (`FB_E_NOT_FOUND` otherwise: no rate is a good default).
   */
  limiter(name: string, rate?: string | readonly (string | RateOptions)[] | LimiterOptions): Limiter
  /**
   * Creates a cache or attaches to it. Without options, attaches to one that
   * is there as it is, else creates it with the defaults.
   */
  cache<V = unknown>(name: string, options?: CacheOptions): Cache<V>
  /** Creates a breaker or attaches to it; without options as `cache` does. */
  breaker(name: string, options?: BreakerOptions): Breaker
  /** Creates a histogram or attaches to it. */
  histogram(name: string): Histogram
  /** Creates a window counter or attaches to it; without options as `cache` does. */
  window(name: string, options?: WindowOptions): WindowCounter
  /**
   * Creates permits or attaches to them. Without options, attaches to those that
   * are there (`FB_E_NOT_FOUND` otherwise: no limit is a good default).
   */
  permits(name: string, options?: PermitsOptions): Permits

  /** What is in the region. */
  objects(): ObjectInfo[]
  /** What the region holds, and who has it open. */
  stats(): RegionStats
  /** Events from number `since` on, oldest first: start with 0, go on with `next`. */
  events(since?: number): Events
  /** Milliseconds since the region was created, the same for all processes. */
  now(): number
  /** Moves a manual clock; a `RangeError` on a real one. */
  advance(duration: Duration): void
  /**
   * Lets go of the region and of every object opened through this object:
   * using them afterwards is `FB_E_CLOSED`, and with that {@link Limiter.acquire}
   * rejects for those who wait. Leases are released. Closing twice is nothing. A region that is never
   * closed goes when it is collected or the thread ends.
   */
  close(): void
  /** The same as `close`, for `using`. */
  [Symbol.dispose](): void
}

export interface ObjectInfo {
  name: string
  kind: 'limiter' | 'cache' | 'breaker' | 'histogram' | 'window' | 'permits'
  bytes: number
}

export interface RegionStats {
  /** Size of the region. */
  bytes: number
  /** Bytes that the header and the objects take. */
  used: number
  /** How many objects there are. */
  objects: number
  /** Live processes that have it open; 1 for a private region. */
  seats: number
  /** How many may. */
  seatsMax: number
  /** Events since it was created. */
  events: number
  /** Events that could not be written. */
  eventsDropped: number
  /** Structures that recovery cleared because their holder had died. */
  resets: number
}

export interface Events {
  events: RegionEvent[]
  /** What to pass as `since` next time. */
  next: number
  /** How many asked for had been overwritten. */
  lost: number
}

export interface RegionEvent {
  sequence: number
  /** Region time in milliseconds, as {@link Region.now}. */
  time: number
  kind:
    | 'object-created'
    | 'options-changed'
    | 'breaker-open'
    | 'breaker-half-open'
    | 'breaker-closed'
    | 'cache-cleared'
    | 'shard-reset'
  /** The object's name; empty for the region itself. */
  object: string
  detail: number
}

/**
 * A rate: text, or its parts. Several, at most four, all of which a request must
 * keep to: text with `and` in it, or an array.
 */
export type Rate = string | RateOptions | readonly (string | RateOptions)[]

export interface RateOptions {
  /** Requests a period, or text such as `'60/min'`, which says the period. */
  rate: number | string
  /** The period, when `rate` is a number. */
  per?: Duration
  /** Requests at once: default as many as the rate says; at least 1. */
  burst?: number
}

/**
 * What a limiter counts. `bucket`: tokens that come back one by one, at the rate.
 * `fixed`: a window that begins with a key's first token; at most the count in
 * each. `sliding`: at most the count in *any* interval of the window's length.
 */
export type Algorithm = 'bucket' | 'fixed' | 'sliding'

export interface LimiterOptions extends Omit<RateOptions, 'rate'> {
  /** Requests a period, text that says the period, or several rates. */
  rate: number | string | readonly (string | RateOptions)[]
  /** Default `'bucket'`. Fixed when created. */
  algorithm?: Algorithm
  /**
   * What happens when a newcomer finds no free slot. `'lenient'`, the default: it
   * takes one that is in use, whose key starts anew (`evictedLive`). `'strict'`:
   * a flood of fresh keys never gives anybody a token; for logins. Fixed when
   * created.
   */
  onFull?: 'lenient' | 'strict'
  /**
   * What is answered when others kept changing the key's slots, a thousand times
   * in a row: default `'deny'`.
   */
  onError?: 'deny' | 'allow'
  /** `false`: everything passes, uncharged, and is counted as admitted. */
  enabled?: boolean
  /**
   * Whether {@link Limiter.topRefused} shows keys, as far as they have at most 47
   * bytes; they are stored in the region then.
   */
  showKeys?: boolean
  /**
   * Rates by tier, at most 15, names of 1 to 31 bytes other than `default`;
   * `'unlimited'` is a rate. An unknown tier gets the limiter's own; one that is
   * not named again stays.
   */
  tiers?: Readonly<Record<string, Rate>>
  /**
   * Keys whose bucket is not full, at once, without crowding each other: default
   * 65,536; 16 bytes each and a quarter to spare. Fixed when created.
   */
  maxKeys?: number
}

/** A limiter's answer. */
export class Verdict {
  private constructor()
  readonly allowed: boolean
  /** The burst; `Infinity` for an unlimited tier. */
  readonly limit: number
  /** Tokens left. */
  readonly remaining: number
  /** Milliseconds until the same request would be allowed; `null` when it is, or never will be (cost above burst). */
  readonly retryAfter: number | null
  /** Milliseconds until the bucket is full again and nothing blocks the key. */
  readonly resetAfter: number
  /** Milliseconds that an empty bucket takes to fill; 0 for an unlimited tier. */
  readonly window: number
  /**
   * The verdict as headers: {@link headers} of this one.
   *
   * @param name what the newer styles call the limit: printable ASCII.
   */
  headers(
    name: string,
    styles?: HeaderStyle | readonly HeaderStyle[],
    now?: Date | number,
  ): [name: string, value: string][]
}

/**
 * Token buckets by key. `cost` is a whole number, default 1: 0 only looks, one
 * above the burst is refused and spends nothing. Nothing here allocates in the
 * engine or waits for a lock.
 */
export class Limiter {
  private constructor()
  readonly name: string
  /** Whether the request may go; spends if so. */
  allow(key: Key, cost?: number, tier?: string): boolean
  /** The same with the whole answer. */
  take(key: Key, cost?: number, tier?: string): Verdict
  /** What `take` would answer, without spending. */
  peek(key: Key, cost?: number, tier?: string): Verdict
  /** As `take`, but a refusal is thrown: {@link Limited}. */
  enforce(key: Key, cost?: number, tier?: string): Verdict
  /**
   * Gives tokens back that were spent for nothing; the bucket is never more than
   * full. Answers what `peek` then would.
   */
  refund(key: Key, tokens?: number, tier?: string): Verdict
  /**
   * Takes tokens whether they are there or not: the key may be in debt then, and
   * waits until that is paid off. Answers what `peek` then would.
   */
  penalize(key: Key, tokens?: number, tier?: string): Verdict
  /**
   * Refuses the key everything for this long, in every tier: a block that ends
   * later stays. Its bucket goes on refilling. At most four and a half years.
   */
  block(key: Key, time: Duration): void
  /** Ends a block; whether there was one. */
  unblock(key: Key): boolean
  /**
   * Spends now what is to be used later: `undefined` if the wait would be longer
   * than `maxWait`, and then nothing is spent. Waits are at most two years.
   */
  reserve(key: Key, maxWait: Duration, options?: ReserveOptions): Reservation | undefined
  /**
   * Waits for tokens and spends them, without stopping the loop. First come,
   * first served; who would not be served within `timeout` is refused at once. A
   * refusal is a verdict, not a rejection.
   *
   * Rejects with the signal's reason when it fires, and with `FB_E_CLOSED` when
   * the region is closed: tokens that were still to be waited for are given
   * back. A promise that waits keeps the process alive.
   */
  acquire(key: Key, timeout: Duration, options?: AcquireOptions): Promise<Verdict>
  /** Fills the key's bucket and ends a block; whether there was anything to do. */
  reset(key: Key): boolean
  /** Fills all buckets and ends all blocks. Reads the whole table. */
  clear(): void
  stats(): LimiterStats
  /**
   * The figures of each tier: `default` first, then in the order in which the
   * tiers came to be. Evictions are not told apart: a bucket is a key's, in
   * whatever tier it is asked.
   */
  tierStats(): TierStats[]
  /**
   * The keys that were refused most since the limiter was created, or since
   * `forgetRefused`: up to 32, the worst first. Estimates.
   */
  topRefused(): RefusedKey[]
  /** By what `topRefused` calls this key: 16 hexadecimal digits. */
  mark(key: Key): string
  /** Begins to count anew who is refused most. */
  forgetRefused(): void
}

/** A key that was refused often. */
export interface RefusedKey {
  /** The same for the same key, in this region only: {@link Limiter.mark}. */
  mark: string
  /** How often, an estimate. */
  count: number
  /** By how much the count may be too high. */
  over: number
  /** The key where it is shown (`showKeys`), a `Buffer` if it is not UTF-8; else `null`. */
  key: string | Buffer | null
}

export interface ReserveOptions {
  /** Tokens: default 1. */
  cost?: number | undefined
  tier?: string | undefined
}

export interface AcquireOptions extends ReserveOptions {
  /** Ends the wait. One that has fired already spends nothing. */
  signal?: AbortSignal | undefined
}

/**
 * Tokens that are spent, to be used when `wait` is over. They stay spent, also
 * when this is collected, unless it is cancelled.
 */
export class Reservation {
  private constructor()
  /** Milliseconds to wait before acting; 0 once it is time, or it was cancelled. */
  readonly wait: number
  /** When to act: nanoseconds of the region's clock. */
  readonly due: bigint
  /**
   * Gives the tokens back, as many as those who reserved after it did not take;
   * `false` if it was time to act already. They keep their times.
   */
  cancel(): boolean
}

/** One of the limits that a request is held against. */
export interface TakeRequest {
  limiter: Limiter
  key: Key
  /** Tokens: default 1. */
  cost?: number | undefined
  tier?: string | undefined
}

/**
 * Holds one request against several limits, at most 16: all admit it and are
 * charged, or none is. The verdicts are in the order of the requests; among
 * those that refuse, the one with the longest wait is the one to tell about.
 */
export function takeAll(requests: readonly TakeRequest[]): {
  allowed: boolean
  verdicts: Verdict[]
}

/**
 * A style of rate-limit headers. `legacy` is `X-RateLimit-*` with the reset in
 * seconds since 1970, `legacy-delta` the same with seconds from now; the others
 * are the drafts of draft-ietf-httpapi-ratelimit-headers.
 */
export type HeaderStyle =
  | 'legacy'
  | 'legacy-delta'
  | 'draft-6'
  | 'draft-7'
  | 'draft-8'
  | 'draft-10'

/**
 * The headers that tell a client about these limits, for `new Headers(pairs)`
 * or `response.setHeader(name, value)`.
 *
 * Several limits share the headers of `draft-8` and `draft-10`; the older styles
 * tell of the one that refused, else of the one with the fewest tokens left. An
 * unlimited one is not told. Seconds are rounded up. `Retry-After` is there if a
 * limit refused and waiting helps.
 *
 * @param limits each with the name that the newer styles give it, of printable ASCII,
 * and perhaps the key that was asked about: `draft-8` and `draft-10` then tell it as
 * `pk`, the partition key, by the first twelve hexadecimal digits of its SHA-256.
 * Somebody who sees them can check a guess at the key.
 * @param styles default `'legacy'`.
 * @param now the wall clock, a `Date` or milliseconds since 1970: default `Date.now()`.
 */
export function headers(
  limits: readonly (readonly [name: string, verdict: Verdict, key?: Key | undefined])[],
  styles?: HeaderStyle | readonly HeaderStyle[],
  now?: Date | number,
): [name: string, value: string][]

export interface ClientAddressOptions {
  /** The header `X-Forwarded-For`, or several of them in their order. */
  forwardedFor?: string | readonly string[] | undefined
  /**
   * How many proxies are our own, the last of which is the peer: default 0. Each
   * appended the address that it saw; what stands further left is the client's
   * word and does not count.
   */
  trustedHops?: number | undefined
  /** Bits of an IPv6 address that count: default 64, 0 to 128. */
  ipv6Prefix?: number | undefined
}

/**
 * The address to count a client by, as a key: `'203.0.113.9'`, or an IPv6
 * network, `'2001:db8:1:2::/64'`. The same text in every language.
 *
 * @param peer whom the connection is from, such as `request.socket.remoteAddress`:
 * an address with or without a port; a `RangeError` if it is none.
 */
export function clientAddress(peer: string, options?: ClientAddressOptions): string

export interface LimiterStats {
  /** Requests admitted. */
  admitted: number
  /** Requests refused. */
  refused: number
  /** Penalties that took more than was there. */
  debts: number
  /** Buckets that were not full when another key took their slot. */
  evictedLive: number
  /** Requests with a tier that the limiter does not have. */
  unknownTier: number
  /** Requests refused because others kept changing the key's slots; among `refused`. */
  contended: number
  /** Slots of the table, one for each bucket that is not full. */
  slots: number
}

/** Figures of one of a limiter's tiers. */
export interface TierStats {
  /** Its name; `default` for requests with no tier, or one that the limiter does not have. */
  tier: string
  /** Requests admitted. */
  admitted: number
  /** Requests refused. */
  refused: number
  /** Penalties that took more than was there. */
  debts: number
}

export interface WindowOptions {
  /**
   * Keys that have a window at once without crowding each other: default 65,536;
   * 16 bytes each and a quarter to spare. Fixed when created.
   */
  maxKeys?: number
}

/** What a key's window has seen. */
export interface Count {
  /** Hits in the window; at most 8,388,607 are counted. */
  count: number
  /** Milliseconds until it ends; 0 if the key has no window. */
  resetsIn: number
}

export interface Hit extends Count {
  /** Whether the hits are among `count`: not beyond `limit`. */
  counted: boolean
}

export interface HitOptions {
  /** How many at once: default 1; 0 begins no window. */
  hits?: number | undefined
  /** Count them only if the window has no more than this then. */
  limit?: number | undefined
}

/**
 * Counts by key in windows of time: for the stores of other rate limiters. A
 * {@link Limiter} with the algorithm `fixed` is the limit itself.
 */
export class WindowCounter {
  private constructor()
  readonly name: string
  /**
   * Counts a hit of this key. If it has no window, or that is over, one of this
   * length begins: a millisecond to four and a half years.
   */
  hit(key: Key, window: Duration, options?: HitOptions): Hit
  /** What the key's window has seen. */
  get(key: Key): Count
  /** Takes hits back, default 1, down to none; the window stays as it is. */
  decrement(key: Key, hits?: number): Count
  /** Ends the key's window, and its block; whether it had either. */
  reset(key: Key): boolean
  /**
   * Marks the key as blocked for this long, for `blockedFor` to tell; a mark that
   * ends later stays. It is counted on regardless.
   */
  block(key: Key, time: Duration): void
  /** Milliseconds that the key is blocked yet; 0 if it is not. */
  blockedFor(key: Key): number
  /** Ends a block; whether there was one. */
  unblock(key: Key): boolean
  /** Ends all windows and blocks. Reads the whole table. */
  clear(): void
  stats(): WindowStats
}

export interface WindowStats {
  /** Calls of `hit` that were counted, whatever their weight. */
  hits: number
  /** Calls that were not, for a limit. */
  refused: number
  /** Windows that were not over when another key took their slot. */
  evictedLive: number
  /** Calls that were not counted because others kept changing the key's slots. */
  contended: number
  /** Slots of the table. */
  slots: number
}

export interface PermitsOptions {
  /** Leases of a key at once: 1 to 4,096. */
  limit: number
  /**
   * When a lease ends by itself that is neither released nor renewed: default a
   * minute, from 1 ms to 30 days, in whole milliseconds.
   */
  lease?: Duration
  /**
   * Leases of all keys together: default 4,096, from `limit` to 16,777,216; about
   * 50 bytes each. Fixed when created.
   */
  maxLeases?: number
}

/**
 * So many at once of each key, over all threads and processes, whichever of them
 * are killed or stopped. A lease is live until it is released, its time is over,
 * or its process has ended. One whose time is over does not stop its holder: who
 * works on without renewing works beside the next one.
 */
export class Permits {
  private constructor()
  readonly name: string
  /** A permit for this key, `undefined` if there is none now. Does not wait. */
  tryAcquire(key: Key): Lease | undefined
  /** The same, but a refusal is thrown, and says why: {@link Refused}. */
  enforce(key: Key): Lease
  /** How many leases the key has, those of dead processes that nobody noticed yet among them. */
  inUse(key: Key): number
  stats(): PermitsStats
}

/**
 * One permit, for a time. One that is collected is released, at some time; so are
 * all when the region is closed, and when their thread or process ends.
 */
export class Lease {
  private constructor()
  /** Gives the permit back; `false` if that was done, or its time was over, before. */
  release(): boolean
  /**
   * Has it end as late as one acquired now would; `false` if it has ended: then
   * acquire another.
   */
  renew(): boolean
  /** Milliseconds until it ends by itself; 0 when it has ended. */
  readonly endsIn: number
  /** The same as `release`, for `using`. */
  [Symbol.dispose](): void
}

export interface PermitsStats {
  /** Leases granted. */
  granted: number
  /** Refusals because of the limit. */
  refused: number
  /** Refusals because there was no room: raise `maxLeases`. */
  full: number
  /** Refusals because another participant held the key's shard. */
  busy: number
  /** Leases whose time was over before they were released. */
  expired: number
  /** Leases whose holders had died. */
  reaped: number
}

export interface CacheOptions {
  /** Memory in the region, all included: default 4 MiB, at least 16 KiB. Fixed when created. */
  bytes?: number
  /** Default `bytes / 512`; each takes about 80 bytes beside its key and value. Fixed when created. */
  maxEntries?: number
  /**
   * Largest key and value together, up to about a quarter of a shard: default an
   * eighth of that or 64 KiB, whichever is more; 94 KiB in 4 MiB. Fixed when created.
   */
  maxItem?: number
  /**
   * Parts, each with a lock of its own for writers, a power of two: default at
   * most four a core, fewer where one would have less than 128 entries or less
   * room than 32 of the largest items. Fixed when created.
   */
  shards?: number
  /**
   * Time to live of entries that are set without one: default as it is in a
   * cache that is there, for ever in a new one.
   */
  ttl?: Duration
}

export interface SetOptions {
  /** Time to live; `null` for ever; the cache's own when left out. */
  ttl?: Duration | null
}

/**
 * Values by key, evicted by least recent use when memory or entries run out.
 *
 * A string is stored as text, a `Uint8Array` (a `Buffer` too) as bytes,
 * everything else as JSON, so programs in other languages can read it. What
 * comes back is what was stored, as JSON has it (a `Date` becomes a string);
 * bytes come back as a `Buffer` of their own.
 */
export class Cache<V = unknown> {
  private constructor()
  readonly name: string
  /** The value, or `undefined`: not there or expired. */
  get(key: Key): V | undefined
  /** The bytes as they are stored, whatever they stand for. */
  getBytes(key: Key): Buffer | undefined
  /** The value with all that is known of it. */
  entry(key: Key): Entry<V> | undefined
  /**
   * Stores a value. `false` when it was not stored: larger than `maxItem`, or
   * another process holds the shard. Either is counted in the stats, and an
   * older value is not served any more.
   *
   * @throws TypeError for `undefined`, functions, bigints and cycles.
   */
  set(key: Key, value: V, options?: SetOptions): boolean
  /** Whether it is there; does not count as use. */
  has(key: Key): boolean
  /** Removes it; whether it was there. */
  delete(key: Key): boolean
  /** Removes everything. */
  clear(): void
  /** Entries, expired ones included until they make room. */
  readonly size: number
  stats(): CacheStats
}

export interface Entry<V> {
  value: V
  /** A number stands for a codec that this package does not decode: the value is a `Buffer`. */
  codec: 'bytes' | 'text' | 'json' | number
  /** A number that no other value of this key has had or will have. */
  version: number
  /** When it was set, by the wall clock at the region's creation and the region's clock since. */
  created: Date
  /** Milliseconds left; `null` for ever. */
  ttl: number | null
}

export interface CacheStats {
  /** Reads that found a value. */
  hits: number
  /** Reads that found none. */
  misses: number
  /** Values stored. */
  sets: number
  /** Values deleted. */
  deletes: number
  /** Live entries that made room for others. */
  evictions: number
  /** Expired entries that made room for others. */
  expirations: number
  /** Sets refused because key and value exceed `maxItem`. */
  tooLarge: number
  /** Writes that could not get their shard's lock in time. */
  busy: number
  /** Shards cleared because a process died while it wrote to them. */
  resets: number
  /** Entries now, expired ones included until they make room. */
  entries: number
  /** Bytes that they take. */
  bytesUsed: number
  /** Bytes there are for them. */
  bytesCapacity: number
  /** The largest key and value together that is stored. */
  maxItem: number
  /** The most entries. */
  maxEntries: number
  /** Its parts, each with a lock of its own for writers. */
  shards: number
  /** `hits / (hits + misses)`, 0 before the first. */
  hitRate: number
}

export interface BreakerOptions {
  /** Consecutive failures that open it: default 5, at most 1,000,000, 0 for off. */
  failureThreshold?: number
  /**
   * Share of failures in the window that opens it, that or more: default 0.5,
   * above 0 and at most 1, kept to a millionth, `null` for off.
   */
  failureRate?: number | null
  /** Calls in the window before the share counts: default 10, at most 500,000. */
  volumeThreshold?: number
  /** Length of the window: default 10 s, from 10 ms to a day. */
  window?: Duration
  /** How long it stays open: default 60 s, from 1 ms to 30 days, in whole milliseconds. */
  openFor?: Duration
  /** Probes that must succeed to close it: default 2, at most 1,000,000. One that fails opens it again. */
  successThreshold?: number
  /** Probes in flight at once when half-open, over all processes: default 1, at most 16. */
  halfOpenCalls?: number
  /** How long a probe may take before its place is given to another: default 30 s, from 1 ms to a day. */
  probeLease?: Duration
}

export interface CallOptions<F> {
  /** An `AbortError` after this signal has fired is the caller's own: it is ignored, not a failure. */
  signal?: AbortSignal
  /** Answers instead when the breaker is open or the call fails; it is given the error. */
  fallback?: (error: unknown) => F
}

/** Keeps calls away from a dependency that fails. All processes share its state. */
export class Breaker {
  private constructor()
  readonly name: string
  /**
   * Calls `f` and reports how it went. A promise is watched: its rejection is a
   * failure. `f` is not called when the breaker is open: that throws
   * {@link BreakerOpen} at once (with `exec`, as a rejection).
   */
  call<T>(f: () => T): T
  call<T, F>(f: () => Promise<T>, options: CallOptions<F>): Promise<T | Awaited<F>> | F
  call<T, F = never>(f: () => T, options: CallOptions<F>): T | F
  /** As `call`; always a promise. */
  exec<T, F = never>(f: () => T, options?: CallOptions<F>): Promise<Awaited<T> | Awaited<F>>
  /** Leave to make one call. Throws {@link BreakerOpen}. */
  enter(): Permit
  /** The same, `undefined` when the breaker is open. */
  tryEnter(): Permit | undefined
  readonly state: 'closed' | 'half-open' | 'open' | 'forced-open'
  stats(): BreakerStats
}

/**
 * Leave to make one call: say once how it went. Each method answers whether
 * that counted: not the second word, nor one that comes too late. A permit that
 * is collected without a word counts as a failure, at some time; where that
 * takes longer than `probeLease`, the lease frees its place.
 */
export class Permit {
  private constructor()
  success(): boolean
  failure(): boolean
  /** Neither: gives a probe's place back. */
  ignore(): boolean
  /** A failure, unless something was said: for `using`. */
  [Symbol.dispose](): void
}

export interface BreakerStats {
  /** Calls that worked and counted. */
  successes: number
  /** Calls that failed and counted. */
  failures: number
  /** Calls that were the caller's to cancel, or said to be neither. */
  ignored: number
  /** Calls not let through. */
  rejected: number
  /** Results that came too late to count; not among the above. */
  late: number
  /** Times it opened. */
  opened: number
  /** Times it half-opened. */
  halfOpened: number
  /** Times it closed. */
  closed: number
  /** Probes let through. */
  probes: number
}

/** Latencies: exact counts and sums, percentiles within 1.1 % from 1 µs to 17 minutes. */
export class Histogram {
  private constructor()
  readonly name: string
  /** Records milliseconds. */
  record(ms: number): void
  /** Records nanoseconds; more than 2^64 - 1 count as that. */
  recordNs(ns: number | bigint): void
  /** Starts a timer; what it returns stops it, records, and tells the milliseconds. */
  start(): () => number
  /** Calls `f` and records how long it, or its promise, took, also when it fails. */
  time<T>(f: () => T): T
  /** Milliseconds below which `percent` (0 to 100) of the records lie; `undefined` when there are none. */
  percentile(percent: number): number | undefined
  /** All of it at one time. */
  snapshot(): Snapshot
}

/** A histogram as it was; milliseconds. */
export class Snapshot {
  private constructor()
  readonly count: number
  readonly sum: number
  /** 0 when empty. */
  readonly mean: number
  readonly min: number | undefined
  readonly max: number | undefined
  /** Non-empty buckets, ascending: how many records up to `le` and above the bucket before. */
  readonly buckets: { le: number; count: number }[]
  percentile(percent: number): number | undefined
}

/** What went wrong in the engine; `message` is the same in every language. */
export class ForebayError extends Error {
  constructor(message: string, code: string, options?: ErrorOptions)
  /** `FB_E_…` */
  readonly code: string
}

/** The breaker is open: the call was not made. Its code is `'FB_REJECTED'`. */
export class BreakerOpen extends ForebayError {
  private constructor()
  /** The breaker's name. */
  readonly breaker: string
  /** Milliseconds until it may be tried again. */
  readonly retryAfter: number
}

/** A limit refused a request: {@link Limiter.enforce}. Its code is `'FB_DENIED'`. */
export class Limited extends ForebayError {
  private constructor()
  /** The limiter's name. */
  readonly limiter: string
  /** What it said. */
  readonly verdict: Verdict
  /** The verdict as headers, under the limiter's name, which must be of printable ASCII. */
  headers(
    styles?: HeaderStyle | readonly HeaderStyle[],
    now?: Date | number,
  ): [name: string, value: string][]
}

/** There is no permit now: {@link Permits.enforce}. Its code is `'FB_DENIED'`. */
export class Refused extends ForebayError {
  private constructor()
  /** The permits' name. */
  readonly permits: string
  /**
   * `'limit'`: the key has as many leases as it may. `'full'`: there is no room
   * for another. `'busy'`: another participant holds the key's shard.
   */
  readonly reason: 'limit' | 'full' | 'busy'
  /**
   * Milliseconds until one of the leases in the way has ended, at the latest,
   * unless it is renewed; `null` when busy.
   */
  readonly retryAfter: number | null
}
