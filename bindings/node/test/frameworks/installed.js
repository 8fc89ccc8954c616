'use strict'

// The frameworks, which `cargo xtask test` installs for these tests only, and
// small applications that limit with them.

const { once } = require('node:events')
const http = require('node:http')
const { createRequire } = require('node:module')
const path = require('node:path')

const { FOREBAY_FRAMEWORKS } = process.env
if (!FOREBAY_FRAMEWORKS) {
  throw new Error('FOREBAY_FRAMEWORKS is not set: run `cargo xtask test`, which installs them')
}
const installed = createRequire(path.join(path.resolve(FOREBAY_FRAMEWORKS), 'tests.js'))

/** Listens on a port of its own: its URL, and how to end it. */
async function listening(app) {
  const server = http.createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function express(handlers) {
  const app = installed('express')()
  // Its own error page prints the error.
  app.set('env', 'test')
  for (const [path, handler] of Object.entries(handlers)) app.use(path, handler)
  app.use((request, response) => response.send('well'))
  return listening(app)
}

function rateLimit(options) {
  return installed('express-rate-limit').rateLimit({ windowMs: 60_000, legacyHeaders: true, ...options })
}

async function fastify(options, routes = {}) {
  const app = installed('fastify')()
  await app.register(installed('@fastify/rate-limit'), { timeWindow: 60_000, ...options })
  app.get('/', async () => 'well')
  for (const [path, rateLimit] of Object.entries(routes)) {
    app.get(path, { config: { rateLimit } }, async () => 'well')
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url: `http://127.0.0.1:${app.server.address().port}`, close: () => app.close() }
}

/** An application of Nest, without the syntax for decorators. */
async function nest(options) {
  installed('reflect-metadata')
  const { Controller, Get, Module } = installed('@nestjs/common')
  const { APP_GUARD, NestFactory } = installed('@nestjs/core')
  const { ThrottlerGuard, ThrottlerModule } = installed('@nestjs/throttler')
  class Answers {
    one() {
      return 'well'
    }
    other() {
      return 'well'
    }
  }
  const of = (method) => [Answers.prototype, method, Object.getOwnPropertyDescriptor(Answers.prototype, method)]
  Get('/')(...of('one'))
  Get('/other')(...of('other'))
  Controller()(Answers)
  class Application {}
  Module({
    imports: [ThrottlerModule.forRoot(options)],
    controllers: [Answers],
    providers: [{ provide: APP_GUARD, useClass: ThrottlerGuard }],
  })(Application)
  const app = await NestFactory.create(Application, { logger: false })
  await app.listen(0, '127.0.0.1')
  return { url: `http://127.0.0.1:${app.getHttpServer().address().port}`, close: () => app.close() }
}

/** Asks; the status, and the headers by their names in lower case. */
async function ask(url) {
  const response = await fetch(url, { headers: { connection: 'close' } })
  await response.arrayBuffer()
  return { status: response.status, headers: Object.fromEntries(response.headers) }
}

/** The statuses of so many requests, one after the other. */
async function statuses(url, times) {
  const all = []
  for (let i = 0; i < times; i += 1) all.push((await ask(url)).status)
  return all
}

module.exports = { express, rateLimit, fastify, nest, ask, statuses }
