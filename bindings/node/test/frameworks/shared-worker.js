'use strict'

// A worker of shared.test.js: serves with the framework that it is told, three
// requests a minute from each client, and tells where.

const { open } = require('forebay')
const { ForebayStore } = require('forebay/express-rate-limit')
const { ForebayThrottlerStorage } = require('forebay/nestjs-throttler')
const { forebayStore } = require('forebay/fastify-rate-limit')
const { express, rateLimit, fastify, nest } = require('./installed.js')

const [, , file, framework] = process.argv
const region = open(file, { create: false })
const source = { region, name: 'api' }

const serve = {
  express: () => express({ '/': rateLimit({ limit: 3, store: new ForebayStore(source) }) }),
  nest: () =>
    nest({
      throttlers: [{ ttl: 60_000, limit: 3 }],
      storage: new ForebayThrottlerStorage(source),
    }),
  fastify: () => fastify({ max: 3, store: forebayStore(source) }),
}

serve[framework]().then(({ url, close }) => {
  process.send(url)
  process.once('message', async () => {
    await close()
    process.disconnect()
  })
})
