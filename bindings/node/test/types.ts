// Compiled with --strict, never run: what users write must be well typed, and
// what they must not write must not compile.

import {
  clientAddress,
  headers,
  open,
  privateRegion,
  takeAll,
  type BreakerOpen,
  type Cache,
  type CacheStats,
  type Duration,
  type Entry,
  type HeaderStyle,
  type Count,
  type Key,
  type Lease,
  type Permit,
  type RefusedKey,
  type Reservation,
  type TierStats,
  type Verdict,
  ForebayError,
  Limited,
  Refused,
} from 'forebay'

interface Page {
  title: string
  tags: string[]
}

const region = open('shop', { bytes: 64 << 20, mode: 0o660 })
const path: string | undefined = region.path
privateRegion({ manualClock: true }).advance('5m')

const limiter = region.limiter('api', {
  rate: 60,
  per: '1m',
  burst: 90,
  tiers: { pro: '100/min', admin: 'unlimited', custom: { rate: 5, per: 1000 } },
})
region.limiter('api', '60/min burst 90')
region.limiter('api')
const key: Key = ['tenant', 7, new Uint8Array(4)]
const allowed: boolean = limiter.allow(key, 2, 'pro')
const verdict: Verdict = limiter.take('203.0.113.7')
const wait: number | null = verdict.retryAfter
// @ts-expect-error a key is not a number
limiter.allow(7)
// @ts-expect-error a verdict is read only
verdict.allowed = true

const window: number = limiter.refund(key, 2, 'pro').window + limiter.penalize('k').window
limiter.block('k', '10m')
const ended: boolean = limiter.unblock('k')
const reservation: Reservation | undefined = limiter.reserve('k', '5s', { cost: 2, tier: 'pro' })
const due: bigint | undefined = reservation?.due
const cancelled: boolean | undefined = reservation?.cancel()
const got: Promise<Verdict> = limiter.acquire('k', 250, { signal: AbortSignal.timeout(100) })
// @ts-expect-error a reservation has no signal
limiter.reserve('k', '5s', { signal: AbortSignal.timeout(100) })
// @ts-expect-error how long?
limiter.acquire('k')
const together: boolean = takeAll([{ limiter, key }, { limiter, key: '', cost: 2 }]).allowed
// @ts-expect-error a limiter is not its name
takeAll([{ limiter: 'api', key: 'k' }])
const styles: HeaderStyle[] = ['legacy', 'draft-10']
const sent: Headers = new Headers(headers([['api', verdict]], styles, new Date()))
headers([['api', verdict, 'k'], ['api', verdict, ['a', 1]], ['api', verdict, undefined]])
// @ts-expect-error a key is no number
headers([['api', verdict, 5]])
const pairs: [string, string][] = verdict.headers('api', 'draft-8', Date.now())
// @ts-expect-error no such style
verdict.headers('api', 'draft-9')
const request: { headers: NodeJS.Dict<string | string[]> } = { headers: {} }
const client: string = clientAddress('10.0.0.1', {
  forwardedFor: request.headers['x-forwarded-for'],
  trustedHops: 1,
})

region.limiter('several', ['10/s', { rate: 1000, per: '1d' }])
region.limiter('logins', {
  rate: ['5/min', '20/h'],
  tiers: { pro: ['10/min', { rate: '40/h', burst: 50 }] },
  algorithm: 'sliding',
  onFull: 'strict',
  onError: 'allow',
  enabled: true,
  showKeys: true,
})
// @ts-expect-error no such algorithm
region.limiter('logins', { rate: '1/s', algorithm: 'gcra' })
// @ts-expect-error a rate is not a number
region.limiter('logins', [5])
const refused: RefusedKey[] = limiter.topRefused()
const [tier]: TierStats[] = limiter.tierStats()
const ofTier: [string, number] | undefined = tier && [tier.tier, tier.admitted + tier.debts]
const known: boolean = refused.some(({ mark }) => mark === limiter.mark('k'))

const hits = region.window('hits', { maxKeys: 1000 })
const counted: boolean = hits.hit(key, '1m', { hits: 2, limit: 10 }).counted
const count: Count = hits.decrement('k')
const blocked: number = hits.blockedFor('k')
// @ts-expect-error how long?
hits.hit('k')

const jobs = region.permits('jobs', { limit: 2, lease: '30s', maxLeases: 100 })
const lease: Lease | undefined = jobs.tryAcquire(key)
const renewed: boolean | undefined = lease?.renew()
jobs.enforce('k')[Symbol.dispose]()
// @ts-expect-error there may be none
jobs.tryAcquire('k').release()
// @ts-expect-error how many?
region.permits('jobs', { lease: '30s' })

const pages: Cache<Page> = region.cache<Page>('pages', { bytes: 8 << 20, ttl: '5m' })
const page: Page | undefined = pages.get('/')
const stored: boolean = pages.set('/', { title: 'Home', tags: [] }, { ttl: null })
const entry: Entry<Page> | undefined = pages.entry('/')
const stats: CacheStats = pages.stats()
const bytes: Buffer | undefined = pages.getBytes('/')
// @ts-expect-error not a Page
pages.set('/', { title: 1 })
// @ts-expect-error no such option
region.cache('pages', { maxentries: 5 })
const anything: unknown = region.cache('any').get('k')

const breaker = region.breaker('origin', { failureRate: null, openFor: '30s' })
const now: number = breaker.call(() => 1)
const later: Promise<string> = breaker.call(async () => 'x')
const either: Promise<string | undefined> = breaker.exec(async () => 'x', {
  fallback: (error) => ((error as BreakerOpen).retryAfter > 0 ? undefined : 'y'),
  signal: new AbortController().signal,
})
const sync: number | null = breaker.call(() => 1, { fallback: () => null })
const permit: Permit | undefined = breaker.tryEnter()
permit?.success()
if (breaker.state === 'half-open') breaker.enter().failure()
// @ts-expect-error no such state
if (breaker.state === 'ajar') breaker.enter()

const histogram = region.histogram('http')
const stop: () => number = histogram.start()
const timed: Promise<number> = histogram.time(async () => 1)
histogram.recordNs(process.hrtime.bigint())
const p99: number | undefined = histogram.snapshot().percentile(99)
const duration: Duration = 250

for (const { kind, object } of region.events(0).events) {
  if (kind === 'breaker-open') console.log(object)
}
try {
  region[Symbol.dispose]()
} catch (error) {
  if (error instanceof Refused) console.log(error.permits, error.reason === 'full', error.retryAfter)
  if (error instanceof Limited) console.log(error.limiter, error.verdict.retryAfter, error.headers())
  if (error instanceof ForebayError) console.log(error.code.length)
}

export { known, counted, count, blocked, renewed }
export { window, ended, due, cancelled, got, together, sent, pairs, client }
export { path, allowed, wait, page, stored, entry, stats, bytes, anything, now, later, either, sync, stop, timed, p99, duration }
