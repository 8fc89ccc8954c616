// The limits of an asset platform: a token bucket for each endpoint, by the
// caller's tier, in front of a plain HTTP server; 429 with Retry-After.
//
//     node limits-assets.mjs
import { createServer } from 'node:http'
import { open, privateRegion } from 'forebay'

// Every worker that opens the same name shares the limits; without a name they
// are this process's own.
const region = process.env.REGION ? open(process.env.REGION) : privateRegion()
const enabled = process.env.RATE_LIMIT_ENABLED !== 'false'

const tiers = (basic, business, enterprise, museum) => ({
  rate: `${basic}/min`, // whoever names no tier, or one that we do not know
  tiers: {
    basic: `${basic}/min`,
    business: `${business}/min`,
    enterprise: `${enterprise}/min`,
    museum: `${museum}/min`,
  },
  enabled,
})
const limits = {
  'POST /api/projects': region.limiter('projects', tiers(5, 30, 300, 50)),
  'POST /api/assets/upload': region.limiter('uploads', tiers(5, 30, 100, 20)),
}

const server = createServer((request, response) => {
  const endpoint = `${request.method} ${request.url}`
  const limit = limits[endpoint]
  if (limit) {
    // In a service both come from the session.
    const { 'x-user': user = 'anonymous', 'x-tier': tier } = request.headers
    const verdict = limit.take(user, 1, tier)
    for (const [name, value] of verdict.headers(limit.name)) response.setHeader(name, value)
    if (!verdict.allowed) {
      response.writeHead(429, { 'content-type': 'application/json' })
      const seconds = Math.ceil(verdict.retryAfter / 1000)
      return response.end(JSON.stringify({ error: 'RATE_LIMITED', retryAfter: seconds }))
    }
  }
  response.writeHead(201).end()
})

// What its callers see.
server.listen(0, async () => {
  const { port } = server.address()
  for (const [tier, requests] of [['basic', 6], ['museum', 21]]) {
    const answers = new Map()
    let last
    for (let i = 0; i < requests; i += 1) {
      last = await fetch(`http://127.0.0.1:${port}/api/assets/upload`, {
        method: 'POST',
        headers: { 'x-user': `a ${tier} user`, 'x-tier': tier },
      })
      answers.set(last.status, (answers.get(last.status) ?? 0) + 1)
    }
    const counted = [...answers].map(([status, times]) => `${times} × ${status}`).join(', ')
    console.log(`${tier}: ${counted}; the last: Retry-After ${last.headers.get('retry-after')}`)
  }
  console.log(limits['POST /api/assets/upload'].stats())
  server.close()
})
