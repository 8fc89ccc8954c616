// The limits of an API platform that runs in several processes: a general one by
// address, one by API key and its tier, strict ones for logins, and one for each
// other door. Administrators are exempt. All of them in one shared region instead
// of a server for it: start this file twice with the same REGION.
//
//     REGION=platform node limits-platform.mjs
import { createServer } from 'node:http'
import { clientAddress, open, privateRegion, takeAll } from 'forebay'

const region = process.env.REGION ? open(process.env.REGION) : privateRegion()

const general = region.limiter('general', { rate: '1000/15min', tiers: { admin: 'unlimited' } })
const apiKeys = region.limiter('api-keys', {
  rate: '100/hour', // the free tier
  tiers: { standard: '1000/hour', premium: '10000/hour', admin: 'unlimited' },
})
const doors = [
  // Ten attempts in any fifteen minutes, and no flood of other addresses ever
  // gives one of them back.
  ['/api/auth', { rate: '10/15min', algorithm: 'sliding', onFull: 'strict' }],
  ['/api/oauth', { rate: '60/min' }],
  ['/graphql', { rate: '100/min' }],
  ['/api/webhooks', { rate: '30/min' }],
].map(([path, options]) => ({ path, limiter: region.limiter(path, options) }))

// In a service these come from the key's record.
const keys = new Map([['k-free', undefined], ['k-premium', 'premium'], ['k-admin', 'admin']])

const server = createServer((request, response) => {
  const key = request.headers['x-api-key']
  const tier = keys.get(key)
  const address = clientAddress(request.socket.remoteAddress, {
    forwardedFor: request.headers['x-forwarded-for'],
    trustedHops: 1, // our own proxy
  })
  const limits = [{ limiter: general, key: address, tier }]
  if (keys.has(key)) limits.push({ limiter: apiKeys, key, tier })
  const door = doors.find(({ path }) => request.url.startsWith(path))
  if (door && tier !== 'admin') limits.push({ limiter: door.limiter, key: address })

  // All of them admit the request, or none is charged.
  const { allowed, verdicts } = takeAll(limits)
  const refusing = verdicts.findIndex((verdict) => !verdict.allowed)
  const telling = refusing < 0 ? verdicts.length - 1 : refusing
  for (const [name, value] of verdicts[telling].headers(limits[telling].limiter.name, 'draft-6')) {
    response.setHeader(name, value)
  }
  response.writeHead(allowed ? 200 : 429).end()
})

server.listen(0, async () => {
  const { port } = server.address()
  const ask = async (path, times, headers) => {
    const answers = {}
    for (let i = 0; i < times; i += 1) {
      const { status } = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
      answers[status] = (answers[status] ?? 0) + 1
    }
    console.log(path, headers, answers)
  }
  await ask('/api/auth/login', 12, { 'x-forwarded-for': '203.0.113.7' })
  await ask('/api/auth/login', 1, { 'x-forwarded-for': '203.0.113.8' })
  await ask('/api/webhooks', 31, { 'x-forwarded-for': '203.0.113.9' })
  await ask('/api/things', 102, { 'x-forwarded-for': '203.0.113.7', 'x-api-key': 'k-free' })
  await ask('/api/things', 102, { 'x-forwarded-for': '203.0.113.7', 'x-api-key': 'k-premium' })
  await ask('/api/auth/login', 12, { 'x-forwarded-for': '203.0.113.7', 'x-api-key': 'k-admin' })
  const auth = doors[0].limiter
  console.log('who is refused most at /api/auth:', auth.topRefused())
  server.close()
})
