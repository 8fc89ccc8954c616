// The package as an ES module, and as the same one as CommonJS.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import * as forebay from 'forebay'
import { BreakerOpen, ForebayError, open, privateRegion } from 'forebay'

const require = createRequire(import.meta.url)

test('import and require give the same objects', () => {
  const required = require('forebay')
  assert.deepEqual(Object.keys(required).sort(), Object.keys(forebay).sort())
  for (const [name, value] of Object.entries(required)) assert.equal(forebay[name], value)
  assert.ok(privateRegion() instanceof required.Region)
})

test('import and require give the same adapters, which the declarations declare', async () => {
  for (const name of ['express-rate-limit', 'nestjs-throttler', 'fastify-rate-limit']) {
    const imported = await import(`forebay/${name}`)
    const required = require(`forebay/${name}`)
    assert.deepEqual({ ...imported }, required)
    const declarations = readFileSync(new URL(`../adapters/${name}.d.ts`, import.meta.url), 'utf8')
    for (const exported of Object.keys(required)) {
      assert.match(declarations, new RegExp(`export (class|function) ${exported}\\b`))
    }
  }
})

test('adapters are over a counter that is there', async () => {
  const { ForebayStore } = require('forebay/express-rate-limit')
  const { ForebayThrottlerStorage } = require('forebay/nestjs-throttler')
  const { forebayStore } = require('forebay/fastify-rate-limit')
  const region = privateRegion({ bytes: 4 << 20 })
  const counter = region.window('hits', { maxKeys: 100 })
  for (const make of [
    (options) => new ForebayStore(options),
    (options) => new ForebayThrottlerStorage(options),
    forebayStore,
  ]) {
    const refused = (options, name, message) => assert.throws(() => make(options), { name, message })
    for (const options of [undefined, null, 5, 'hits', counter.name, []]) {
      refused(options, 'TypeError', /^options: got/)
    }
    refused({}, 'TypeError', /^region: got undefined; allowed: a Region beside name, or a WindowCounter/)
    refused({ region: {}, name: 'hits' }, 'TypeError', /^region: got an object/)
    refused({ region }, 'TypeError', /^name: got undefined/)
    refused({ region, name: '' }, 'RangeError', /^name: got/)
    refused({ region, name: 'hits', maxKeys: -1 }, 'RangeError', /^maxKeys: got -1/)
    refused({ region, name: 'hits', maxKeys: 50 }, 'ForebayError', /^.*asked for/)
    refused({ region, name: 'hits', max: 1 }, 'TypeError', /"max"; allowed: counter, region, name, maxKeys/)
    refused({ counter: 'hits' }, 'TypeError', /^counter: got a string; allowed: a WindowCounter/)
    refused({ counter: null }, 'TypeError', /^counter: got null/)
    for (const other of [{ region }, { name: 'hits' }, { maxKeys: 5 }]) {
      refused({ counter, ...other }, 'TypeError', /one beside a counter/)
    }
    make({ counter })
    make({ region, name: 'hits' })
    make({ region, name: 'hits', maxKeys: 100 })
  }
  assert.throws(() => new ForebayStore({ counter, prefix: 5 }), { name: 'TypeError', message: /^prefix: got a number/ })
})

test('the declarations declare what there is', () => {
  const declarations = readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8')
  for (const [name, value] of Object.entries(forebay)) {
    assert.match(declarations, new RegExp(`export (class|function) ${name}\\b`))
    if (!/^class/.test(Function.prototype.toString.call(value))) continue
    const [body] = declarations.match(new RegExp(`export class ${name}\\b[^]*?\\n}`))
    for (const member of Object.getOwnPropertyNames(value.prototype)) {
      if (member === 'name') continue
      assert.match(body, new RegExp(`\\b${member}\\b`), `${name}.${member}`)
    }
  }
})

test('errors are told apart by class and by code', () => {
  assert.ok(Object.create(BreakerOpen.prototype) instanceof ForebayError)
  assert.throws(() => open('absent', { create: false }), { name: 'ForebayError', code: 'FB_E_NOT_FOUND' })
})

test('the versions of the package and of the engine are one', () => {
  const { version } = require('forebay/package.json')
  const cargo = readFileSync(new URL('../../../Cargo.toml', import.meta.url), 'utf8')
  assert.match(cargo, new RegExp(`version = "${version}"`))
})

test('an engine that cannot be loaded is an error that says what was tried', () => {
  const env = { ...process.env, FOREBAY_NATIVE: '/no/such/forebay.node' }
  const program = `try { require('forebay') } catch (error) { console.log(error.code, error.message) }`
  const cwd = new URL('..', import.meta.url)
  const printed = execFileSync(process.execPath, ['-e', program], { cwd, env, encoding: 'utf8' })
  assert.match(printed, /^FB_E_UNSUPPORTED forebay.node cannot be loaded on .*no.such.forebay.node/)
})

test('the examples in the README run as printed', async () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  // Those with a framework are run beside it: frameworks/readme.test.mjs.
  const examples = [...readme.matchAll(/```js\n(import [^\n]* from 'forebay'\n[^]*?)```/g)]
  assert.equal(examples.length, 3)
  for (const [, example] of examples) {
    const printed = []
    const body = example
      .replace(/^import (.*) from 'forebay'$/m, 'const $1 = forebay')
      .replaceAll("open('shop')", 'forebay.privateRegion({ bytes: 16 << 20 })')
    const run = (async () => {}).constructor('forebay', 'console', body)
    await run(forebay, { log: (...values) => printed.push(values) })
    assert.ok(printed.length > 0)
    assert.ok(printed.flat().every((value) => value !== undefined && value !== false))
  }
})
