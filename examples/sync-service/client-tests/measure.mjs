// Latencies of the service, with buffered and with direct metadata.
//
// node measure.mjs [--shapes N] [--clients N] [--live N] [--picture FILE]

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Cluster, freePort } from './cluster.mjs'
import { picture } from './picture.mjs'
import { Service } from './service.mjs'

const { values: options } = parseArgs({
  options: {
    shapes: { type: 'string', default: '2000' },
    clients: { type: 'string', default: '64' },
    live: { type: 'string', default: '1000' },
    picture: { type: 'string' },
  },
})
const [shapes, clients, live] = [options.shapes, options.clients, options.live].map(Number)
const ROWS = 20

/** Does `work` for each number below `count`, as this many clients, and returns the sorted milliseconds. */
async function timed(count, parallel, work) {
  const times = []
  let next = 0
  const client = async () => {
    while (next < count) {
      const number = next++
      const started = performance.now()
      await work(number)
      times.push(performance.now() - started)
    }
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: parallel }, client))
  return { times: times.sort((a, b) => a - b), took: performance.now() - started }
}

function row(name, { times, took }) {
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(1)
  return { what: name, count: times.length, 'p50 ms': at(0.5), 'p99 ms': at(0.99), 'max ms': at(1), 'all s': (took / 1000).toFixed(2) }
}

/** Requests until there is an answer, as the client does after 503 and while it cannot connect. */
async function get(url) {
  for (;;) {
    const response = await fetch(url).catch(() => undefined)
    if (response) {
      const body = await response.text()
      if (response.ok) return { headers: response.headers, body }
      if (response.status !== 503) throw new Error(`${response.status}: ${body}`)
    }
    const seconds = response ? Number(response.headers.get('retry-after') ?? 1) : 0.1
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * Math.random()))
  }
}

async function measure(cluster, sql, name, more) {
  const directory = mkdtempSync(join(tmpdir(), 'sync-service-measure-'))
  const data = join(directory, 'data')
  const service = new Service({ cluster, data, port: await freePort(), log: join(directory, 'log'), options: [...more, '--publication', name, '--slot', name] })
  await service.start()
  const url = (where, offset = '-1', rest = '') => `${service.url}?table=measured&offset=${offset}&where=${encodeURIComponent(where)}${rest}`
  const rows = []
  try {
    await get(url('id < 0'))
    const shape = (number) => url(`owner = ${number % 200} and id <> ${-number}`)
    rows.push(row('first sync of a new shape', await timed(shapes, clients, (number) => get(shape(number)))))
    rows.push(row('request for an existing shape', await timed(shapes * 2, clients, (number) => get(shape(number % shapes)))))
    // One shape, and all its clients wait for the next change.
    const first = await get(url('owner = 0'))
    const waiting = url('owner = 0', first.headers.get('electric-offset'), `&live=true&handle=${first.headers.get('electric-handle')}`)
    const arrivals = Array.from({ length: live }, () => get(waiting).then(() => performance.now()))
    await new Promise((resolve) => setTimeout(resolve, 3000))
    const started = performance.now()
    await sql.query('update measured set title = title || $1 where id = 0', ['.'])
    const committed = performance.now()
    const times = (await Promise.all(arrivals)).map((at) => at - committed).sort((a, b) => a - b)
    rows.push(row('a live change, from its commit', { times, took: performance.now() - started }))
    // A deploy after which all shapes are new, as after a migration of the table: each shape has a client
    // that asks for it at once, and again until it has its rows.
    await service.kill('SIGTERM')
    rmSync(service.data, { recursive: true })
    const began = performance.now()
    const syncs = Array.from({ length: shapes }, (_, number) => get(shape(number)).then(() => performance.now() - began))
    await service.start()
    const synced = (await Promise.all(syncs)).sort((a, b) => a - b)
    rows.push(row('all shapes again after a deploy', { times: synced, took: synced.at(-1) }))
    redeploys.push({ name: name.split('_')[0], synced })
  } finally {
    await service.kill('SIGTERM')
    rmSync(directory, { recursive: true, force: true })
  }
  console.log(`\n${name}`)
  console.table(rows)
}

const redeploys = []
const cluster = await Cluster.create()
const sql = cluster.client()
await sql.connect()
await sql.query('create table measured (id int primary key, owner int not null, title text)')
await sql.query(`insert into measured select n, n % 200, 'row ' || n from generate_series(0, ${200 * ROWS - 1}) n`)
await sql.query('create index on measured (owner)')
for (const round of [1, 2]) {
  await measure(cluster, sql, `buffered_${round}`, [])
  await measure(cluster, sql, `direct_${round}`, ['--direct'])
}
if (options.picture) writeFileSync(options.picture, picture(redeploys.slice(-2)))
await sql.end()
await cluster.remove()
process.exit()
