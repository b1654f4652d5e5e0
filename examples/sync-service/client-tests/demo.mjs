// A private cluster, sample data, the service and a page, until Ctrl-C.
//
// node demo.mjs [--port N]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createIssues, serveWrites } from './application.mjs'
import { Cluster } from './cluster.mjs'
import { Service } from './service.mjs'

const { values: options } = parseArgs({ options: { port: { type: 'string', default: '3000' } } })
const port = Number(options.port)
const origin = `http://127.0.0.1:${port}`
const directory = mkdtempSync(join(tmpdir(), 'sync-service-demo-'))
const page = join(import.meta.dirname, '../page/dist')
/** Ends in order, in place of at once. */
const ended = new Promise((resolve) => ['SIGINT', 'SIGTERM'].forEach((signal) => process.removeAllListeners(signal).once(signal, resolve)))

let cluster, writes
const service = new Service({ data: join(directory, 'data'), port, log: join(directory, 'service.log'), options: ['--page', page] })
let failed = false
try {
  console.log('starting PostgreSQL')
  cluster = service.cluster = await Cluster.create()
  const sql = cluster.client()
  await sql.connect()
  await createIssues(sql)
  await sql.end()
  writes = await serveWrites(cluster, port + 1, origin)
  console.log('starting the service')
  await service.start()
  console.log(`\n  ${origin}\n\nOpen it in two windows. Also try:`)
  console.log(`  psql 'host=127.0.0.1 port=${cluster.port} user=postgres' -c "insert into issues (title) values ('from psql')"`)
  console.log(`  curl '${origin}/v1/shape?table=issues&offset=-1'`)
  console.log(`  kill -9 ${service.process.pid}   # it is started again\n\nCtrl-C ends everything.`)
  for (;;) {
    const over = await Promise.race([ended.then(() => true), service.ended.then(() => false)])
    if (over) break
    console.log('the service ended; starting it again')
    await service.start()
  }
} catch (error) {
  failed = true
  console.error(error.message)
}
if (service.process?.exitCode === null) await service.kill('SIGTERM')
writes?.close()
await cluster?.remove()
if (!failed) rmSync(directory, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
