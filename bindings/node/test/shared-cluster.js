'use strict'

// A cluster for shared.test.js: two workers; passes their reports on.

const cluster = require('node:cluster')
const path = require('node:path')

const [, , file] = process.argv
cluster.setupPrimary({ exec: path.join(__dirname, 'shared-worker.js') })
const reports = []
for (const name of ['one', 'two']) {
  cluster.setupPrimary({ args: [file, name] })
  cluster.fork().on('message', (report) => {
    reports.push(report)
    if (reports.length === 2) process.send(reports, () => process.disconnect())
  })
}
