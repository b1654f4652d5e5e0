// A process with some of the clients. `processes.mjs` calls the functions below by messages.

import { Client } from './client.mjs'
import { canonical } from './database.mjs'
import { pause } from './nodes.mjs'

/** A tab that is visible. Otherwise the client takes four seconds of a busy processor for a machine that slept:
 * all clients fetch again, which keeps the processor busy. */
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} }

const clients = new Map()
let url
let addresses = 1
/** Whether the connections to a node end when requests are routed to another one. */
let isBalanced = false
let connections = new AbortController()

/** The client itself notices some loops. That streams end when the service is killed is no news. */
let warnings = []
console.warn = (text) => String(text).includes('SSE connections are closing') || warnings.push(String(text).slice(0, 300))

/** With more than one address of this machine, many clients find a free port fast. */
function send(number, search, init) {
  const address = url.replace('127.0.0.1', `127.0.0.${1 + (number % addresses)}`) + search
  if (!isBalanced) return fetch(address, init)
  return fetch(address, { ...init, signal: AbortSignal.any([connections.signal, init.signal].filter(Boolean)) })
}

const differs = (client, expected) => canonical(client.shape.currentRows) !== expected[JSON.stringify(client.params)]

function report(client, expected) {
  const rows = [canonical(client.shape.currentRows), expected[JSON.stringify(client.params)]]
  const [has, wants] = rows.map((text) => new Set(text.split('\n')))
  const only = (one, other) => [...one].filter((row) => !other.has(row)).slice(0, 3).map((row) => row.slice(0, 300))
  return JSON.stringify({
    params: client.params,
    handle: client.shape.handle,
    offset: client.stream.lastOffset,
    sse: client.liveSse,
    requests: client.requests,
    refetches: client.refetches,
    refused: client.refused,
    error: String(client.shape.error || client.stream.error),
    surplus: only(has, wants),
    missing: only(wants, has),
  }, null, 1)
}

const FUNCTIONS = {
  /** Sends requests to this address from now on. */
  route(to) {
    if (isBalanced) connections.abort(new TypeError('the load balancer has closed the connection'))
    connections = new AbortController()
    isBalanced = to.isBalanced
    url = to.url
    addresses = to.addresses
  },

  async open(list) {
    for (const [at, { number, ...settings }] of list.entries()) {
      clients.set(number, new Client({ ...settings, send: (search, init) => send(number, search, init) }))
      if (at % 50 === 49) await pause(50)
    }
  },

  stop(number) {
    clients.get(number)?.stop()
    clients.delete(number)
  },

  begin() {
    warnings = []
    for (const client of clients.values()) Object.assign(client, { requests: 0, refetches: 0 })
  },

  /** Waits until no client differs from the rows of its shape, and reports those that do at the deadline. */
  async settle({ expected, deadline }) {
    for (let different = [...clients.values()]; ; await pause(100)) {
      const left = []
      for (const [at, client] of different.entries()) {
        if (differs(client, expected)) left.push(client)
        // The clients go on in between.
        if (at % 20 === 19) await pause(10)
      }
      different = left
      if (different.length === 0 || Date.now() > deadline) {
        return { count: different.length, reports: different.slice(0, 5).map((client) => report(client, expected)) }
      }
    }
  },

  counts({ most, mostRefetches }) {
    const list = [...clients.values()]
    const sum = (what) => list.reduce((total, client) => total + client[what], 0)
    const looping = list.filter((client) => client.requests > most || client.refetches > mostRefetches)
    return { requests: sum('requests'), refetches: sum('refetches'), looping: looping.map((client) => client.requests), warnings }
  },
}

process.on('message', async ({ id, name, argument }) => process.send({ id, result: await FUNCTIONS[name](argument) }))
process.on('disconnect', () => process.exit())
