// Compiled with --strict, never run: what the adapters make is what the
// frameworks take, by their own declarations.

import type { FastifyRateLimitStoreCtor, RateLimitPluginOptions } from '@fastify/rate-limit'
import type { ThrottlerModuleOptions, ThrottlerStorage } from '@nestjs/throttler'
import { rateLimit, type Store } from 'express-rate-limit'
import { privateRegion } from 'forebay'
import { ForebayStore, type ClientHits } from 'forebay/express-rate-limit'
import { forebayStore, type ForebayStoreConstructor } from 'forebay/fastify-rate-limit'
import { ForebayThrottlerStorage, type ThrottlerRecord } from 'forebay/nestjs-throttler'

const region = privateRegion()
const counter = region.window('hits')

const store: Store = new ForebayStore({ region, name: 'api', maxKeys: 1000 })
rateLimit({ windowMs: 60_000, limit: 100, store })
const hits: ClientHits | undefined = new ForebayStore({ counter, prefix: 'api:' }).get('k')
// @ts-expect-error a region has several counters
new ForebayStore({ region })
// @ts-expect-error either or
new ForebayStore({ region, name: 'api', counter })
// @ts-expect-error no such option
new ForebayStore({ counter, Prefix: 'api:' })

const storage: ThrottlerStorage = new ForebayThrottlerStorage({ counter })
const nest: ThrottlerModuleOptions = { throttlers: [{ ttl: 60_000, limit: 100 }], storage }
const record: Promise<ThrottlerRecord> = storage.increment('k', 1000, 1, 0, 'default')
// @ts-expect-error a counter is not its name
new ForebayThrottlerStorage({ counter: 'hits' })

const Stores: ForebayStoreConstructor = forebayStore({ region, name: 'api' })
const ctor: FastifyRateLimitStoreCtor = Stores
const fastify: RateLimitPluginOptions = { max: 100, store: Stores }
new Stores().read('k', (error, result) => console.log(error?.message, result?.current), 1000, 1)
// @ts-expect-error where?
forebayStore()

export { hits, nest, record, ctor, fastify }
