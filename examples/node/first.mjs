// A first look, as an ES module:  node examples/node/first.mjs
import { privateRegion } from 'forebay' // open('shop') shares it with every process

const region = privateRegion()
const limits = region.limiter('api', '3/min')
const pages = region.cache('pages', { ttl: '5m' })
const origin = region.breaker('origin')
const latency = region.histogram('http')

async function page(address, path) {
  const { allowed, retryAfter } = limits.take(address)
  if (!allowed) return `429, try again in ${Math.ceil(retryAfter / 1000)} s`
  return latency.time(async () => {
    const known = pages.get(path)
    if (known !== undefined) return `${known.title} (from the cache)`
    const fresh = await origin.exec(async () => ({ title: `The page at ${path}` }))
    pages.set(path, fresh)
    return fresh.title
  })
}

for (let i = 0; i < 4; i += 1) console.log(await page('203.0.113.7', '/'))
console.log(`${latency.snapshot().count} pages, ${pages.stats().hits} from the cache, breaker ${origin.state}`)
