// The README's programs with a framework, run as printed, beside it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import './installed.js'

test('the programs in the README start as printed', (t) => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const programs = [...readme.matchAll(/```js\n(import [^`]* from 'forebay\/[^]*?)```/g)]
  assert.equal(programs.length, 3)
  const regions = mkdtempSync(path.join(tmpdir(), 'forebay-'))
  t.after(() => rmSync(regions, { recursive: true }))
  for (const [i, [, program]] of programs.entries()) {
    const file = path.join(path.resolve(process.env.FOREBAY_FRAMEWORKS), `readme-${i}.mjs`)
    writeFileSync(file, program.replace('3000', '0'))
    const start = `await import('${pathToFileURL(file)}'); process.exit()`
    const env = { ...process.env, FOREBAY_DIR: regions }
    execFileSync(process.execPath, ['--input-type=module', '-e', start], { env })
  }
})
