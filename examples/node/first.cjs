// A first look, as CommonJS:  node examples/node/first.cjs
const { privateRegion } = require('forebay') // open('shop') shares it with every process

const region = privateRegion()
const limits = region.limiter('api', { rate: '2/min', tiers: { pro: '100/min' } })
const pages = region.cache('pages', { ttl: '5m' })

console.log([limits.allow('free'), limits.allow('free'), limits.allow('free')])
console.log(limits.take(['tenant', 7], 1, 'pro').remaining)
pages.set('/', { title: 'Home' })
console.log(pages.get('/').title, pages.size)
