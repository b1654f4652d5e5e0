// Rounds of random writes and trouble. At the end of each, every client has the rows of a query.
//
// node run.mjs [--rounds N | --minutes N] [--clients N] [--shapes N] [--rows N] [--seed N]
//              [--trouble NAME[,NAME...]] [--nodes]

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Cluster, freePort } from './cluster.mjs'
import { canonical, createTables, definition, rowsOf, stamp, write } from './database.mjs'
import { NODE_TROUBLES, Nodes, pause } from './nodes.mjs'
import { ClientProcesses } from './processes.mjs'
import { Random } from './random.mjs'
import { Service } from './service.mjs'
import { ANY_TROUBLES, TROUBLES } from './troubles.mjs'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string' },
    minutes: { type: 'string' },
    clients: { type: 'string', default: '60' },
    shapes: { type: 'string', default: '40' },
    rows: { type: 'string', default: '150' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    trouble: { type: 'string' },
    nodes: { type: 'boolean', default: false },
  },
})
const rows = Number(options.rows)
const random = new Random(Number(options.seed))
/** With two nodes, those of nodes come first. */
const troubles = options.nodes ? { ...NODE_TROUBLES, ...ANY_TROUBLES } : { ...TROUBLES, ...ANY_TROUBLES }
const names = options.trouble?.split(',') ?? Object.keys(troubles)
/** Each once; with two nodes, not those that one process has as well. */
const rounds = Number(options.rounds ?? (options.nodes && !options.trouble ? Object.keys(NODE_TROUBLES) : names).length)
/** How long clients may take until they have the rows, once everything works. */
const DEADLINE = 60_000 + 30 * Number(options.clients)
/** What is more is a loop: requests of a client in a round and in each of its seconds, and refetches. A live
 * client makes a request for each transaction that changes its shape. */
const [MAX_REQUESTS, MAX_REQUESTS_PER_SECOND, MAX_REFETCHES] = [300, 100, 15]
/** With many clients, longer waits and larger responses: the machine has to run all clients, too. */
const isLarge = Number(options.clients) > 500
/** Fewer shapes than the round of evictions makes, and more than the clients use. */
const MAX_SHAPES = String(Number(options.shapes) + 20)
const SERVICE_OPTIONS = ['--allow-delete', '--max-shapes', MAX_SHAPES, '--min-age', '1', '--live-seconds', isLarge ? '20' : '5', '--chunk-bytes', isLarge ? '1000000' : '20000']

console.log(`seed ${options.seed}: ${options.clients} clients of ${options.shapes} shapes`)
const directory = mkdtempSync(join(tmpdir(), 'sync-service-'))
const data = join(directory, 'data')
let failed = false
mkdirSync(data)
/** A disk of its own, so that it can be filled. */
function mounted(how) {
  try {
    execFileSync(...how, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
const isMounted = mounted(['mount', ['-t', 'tmpfs', '-o', `size=${Math.max(1024, 2 * Number(options.shapes))}m`, 'none', data]])
process.once('exit', () => {
  if (failed) cpSync(data, join(directory, 'failed'), { recursive: true })
  if (isMounted) mounted(['umount', ['--lazy', data]])
  if (!failed && !process.env.KEEP) rmSync(directory, { recursive: true, force: true })
})
const cluster = await Cluster.create()
const newService = async (name = 'service', more = []) =>
  new Service({ cluster, address: isLarge ? '0.0.0.0' : '127.0.0.1', data: join(data, name), port: await freePort(), log: join(directory, `${name}.log`), options: [...SERVICE_OPTIONS, ...more] })
let service = await newService()
const newNode = (name) => newService(name, ['--metadata', cluster.connection, '--lease', '3'])
const processes = new ClientProcesses(Number(options.clients))
const route = ({ url }) => processes.all('route', { url, isBalanced: options.nodes, addresses: isLarge ? 50 : 1 })
const nodes = options.nodes && new Nodes([await newNode('one'), await newNode('other')], route)
const environment = { random, cluster, data, isMounted, nodes, service: () => (nodes ? nodes.current : service), clients: [] }
environment.replace = {
  create: newService,
  route: (next) => route((service = next)),
  async active(next) {
    for (let attempt = 0; (await next.status()) !== 'active'; attempt++) {
      if (attempt > 600) throw new Error('the new process does not take over')
      await pause(100)
    }
  },
}

async function connected() {
  for (let attempt = 0; ; attempt++) {
    const client = cluster.client()
    try {
      await client.connect()
      return client
    } catch (error) {
      if (attempt > 300) throw error
      await pause(100)
    }
  }
}

const definitions = Array.from({ length: Number(options.shapes) }, (_, number) => definition(random, number + 1))
const newClient = (number) => ({ number, params: random.pick(definitions), liveSse: random.chance(0.3) })

/** Writes until `over`, with a new connection whenever the server ends one. */
async function writer(seed, over) {
  const own = new Random(seed)
  let sql = await connected()
  while (!over.is) {
    try {
      await write(sql, own, rows)
      // Every transaction is compared with every shape of its tables: more shapes, fewer transactions.
      await pause(Number(options.clients) / (isLarge ? 5 : 20))
    } catch (error) {
      const isDisconnect = !error.code || error.code.startsWith('57') || error.code.startsWith('E')
      const isSchema = ['42703', '0A000'].includes(error.code)
      if (!isDisconnect && !isSchema) throw error
      await sql.end().catch(() => {})
      sql = await connected()
    }
  }
  await sql.end()
}

/** Returns the rows of each shape, by its parameters. Nothing writes any more. */
async function expectedRows(sql) {
  const expected = {}
  for (const { params } of environment.clients) expected[JSON.stringify(params)] ??= canonical(await rowsOf(sql, params))
  return expected
}

try {
  const setup = await connected()
  await createTables(setup, rows)
  await setup.end()
  await (nodes || service).start()
  await route(environment.service())
  environment.clients = Array.from({ length: Number(options.clients) }, (_, number) => newClient(number))
  await processes.open(environment.clients)
  const until = options.minutes && Date.now() + Number(options.minutes) * 60_000
  let refetches = 0
  const warnings = new Set()
  for (let round = 1; until ? Date.now() < until : round <= rounds; round++) {
    const started = Date.now()
    const name = round <= names.length ? names[round - 1] : random.pick(names)
    const over = { is: false }
    const writers = [1, 2].map((n) => writer(random.below(1e9) + n, over))
    await processes.all('begin')
    await pause(200 + random.below(600))
    environment.sql = await connected()
    await troubles[name](environment)
    const troubled = Date.now() - started
    await environment.sql.end().catch(() => {})
    await pause(random.below(600))
    // A few clients go, and others come: some new, some where an earlier one was.
    for (let count = random.below(4); count > 0; count--) {
      const at = random.below(environment.clients.length)
      await processes.call(processes.of(at), 'stop', at)
      environment.clients[at] = newClient(at)
      await processes.open([environment.clients[at]])
    }
    over.is = true
    await Promise.all(writers)
    const sql = await connected()
    await stamp(sql, round)
    const expected = await expectedRows(sql)
    await sql.end()
    const deadline = Date.now() + DEADLINE
    let different = await processes.settle(expected, deadline)
    // Also those that were right before the others were.
    if (different.count === 0) different = await processes.settle(expected, deadline)
    const most = MAX_REQUESTS + (MAX_REQUESTS_PER_SECOND * (Date.now() - started)) / 1000
    const counts = await processes.counts({ most, mostRefetches: MAX_REFETCHES })
    refetches += counts.refetches
    counts.warnings.forEach((text) => warnings.add(text))
    console.log(`round ${round} ${name}: ${counts.requests} requests, ${counts.refetches} refetches, ${Date.now() - started} ms, of which trouble ${troubled} ms`)
    if (different.count > 0 || counts.looping.length > 0 || counts.warnings.some((text) => text.includes('fast retry loop'))) {
      for (const text of [...counts.warnings, ...different.reports]) console.error(text)
      throw new Error(`round ${round} (${name}): ${different.count} clients differ, requests of those that loop: ${counts.looping}`)
    }
  }
  console.log(`all clients have the rows of the database, after ${refetches} refetches`)
  for (const text of warnings) console.log(`a warning of the client: ${text}`)
} catch (error) {
  failed = true
  console.error(error)
  console.error(`seed ${options.seed}; the log of the service and its data are in ${directory}`)
}
processes.end()
const signal = failed ? 'SIGKILL' : 'SIGTERM'
await (nodes ? nodes.end(signal) : service.kill(signal))
await cluster.remove()
process.exit(failed ? 1 : 0)
