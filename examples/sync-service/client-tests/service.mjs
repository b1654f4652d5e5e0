// The service as a process.

import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { guard } from './cluster.mjs'

const BINARY = process.env.SYNC_SERVICE
if (!BINARY) throw new Error('SYNC_SERVICE names the program: run `cargo xtask service test`')

export class Service {
  constructor({ cluster, data, port, log, address = '127.0.0.1', options = [] }) {
    Object.assign(this, { cluster, data, port, log, address, options })
  }

  get url() {
    return `http://127.0.0.1:${this.port}/v1/shape`
  }

  /** Starts the process, and waits until it serves: as `active`, or as `waiting` for another process. */
  async start(status = 'active') {
    this.spawn()
    for (let attempt = 0; ![status].flat().includes(await this.status()); attempt++) {
      if (!this.isRunning) throw new Error(`the service ended with ${this.process.exitCode}; see ${this.log}`)
      if (attempt > 600) throw new Error(`the service is not ${status} after a minute; see ${this.log}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  spawn() {
    const options = ['--postgres', this.cluster.connection, '--data', this.data, '--listen', `${this.address}:${this.port}`, ...this.options]
    this.process = guard(spawn(BINARY, options, { stdio: ['ignore', 'ignore', 'pipe'] }), 'SIGKILL')
    const log = createWriteStream(this.log, { flags: 'a' })
    this.process.stderr.pipe(log)
    this.ended = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })))
  }

  get isRunning() {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  async status(timeout = 5000) {
    try {
      const response = await fetch(`http://127.0.0.1:${this.port}/v1/health`, { signal: AbortSignal.timeout(timeout) })
      return (await response.json()).status
    } catch {
      return 'down'
    }
  }

  async kill(signal = 'SIGKILL') {
    this.process.kill(signal)
    return this.ended
  }
}
