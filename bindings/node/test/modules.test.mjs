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
  const examples = [...readme.matchAll(/```js\n(import [^]*?)```/g)]
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
