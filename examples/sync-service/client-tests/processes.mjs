// The processes of the clients.

import { fork } from 'node:child_process'
import { join } from 'node:path'
import { guard } from './cluster.mjs'

/** More would block an event loop for seconds after each transaction. */
const CLIENTS_OF_A_PROCESS = 250

export class ClientProcesses {
  constructor(clients) {
    this.calls = new Map()
    this.children = Array.from({ length: Math.ceil(clients / CLIENTS_OF_A_PROCESS) }, () => {
      const child = guard(fork(join(import.meta.dirname, 'client-process.mjs')), 'SIGKILL')
      child.on('message', ({ id, result }) => this.calls.get(id).resolve(result))
      child.on('exit', (code) => this.calls.forEach(({ reject }) => reject(new Error(`a process of clients ended with ${code}`))))
      return child
    })
  }

  async call(child, name, argument) {
    const id = (this.next = (this.next ?? 0) + 1)
    try {
      return await new Promise((resolve, reject) => {
        this.calls.set(id, { resolve, reject })
        child.send({ id, name, argument })
      })
    } finally {
      this.calls.delete(id)
    }
  }

  /** Calls a function in each process, and returns the results. */
  all(name, argument) {
    return Promise.all(this.children.map((child) => this.call(child, name, argument)))
  }

  async open(clients) {
    const parts = this.children.map((child) => clients.filter(({ number }) => this.of(number) === child))
    await Promise.all(this.children.map((child, at) => this.call(child, 'open', parts[at])))
  }

  /** Returns the process of a client. */
  of(number) {
    return this.children[number % this.children.length]
  }

  async settle(expected, deadline) {
    const results = await this.all('settle', { expected, deadline })
    return { count: results.reduce((total, { count }) => total + count, 0), reports: results.flatMap(({ reports }) => reports).slice(0, 5) }
  }

  async counts(limits) {
    const results = await this.all('counts', limits)
    const sum = (what) => results.reduce((total, result) => total + result[what], 0)
    const list = (what) => results.flatMap((result) => result[what])
    return { requests: sum('requests'), refetches: sum('refetches'), looping: list('looping'), warnings: list('warnings') }
  }

  end() {
    for (const child of this.children) child.kill()
  }
}
