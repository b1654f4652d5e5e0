// A private PostgreSQL cluster in a temporary directory.

import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

/** A process that is stopped by a signal ends what it has started. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

/** Ends a child at the end of this process, however it ends. */
export function guard(child, signal) {
  const end = () => child.kill(signal)
  process.once('exit', end)
  child.once('exit', () => process.off('exit', end))
  return child
}

/** Returns a port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Returns the directory of the server programs: that of PATH, or Debian's. */
function programs() {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => b - a) : []
  const places = [...process.env.PATH.split(':'), ...versions.map((version) => join(debian, version, 'bin'))]
  const place = places.find((place) => existsSync(join(place, 'initdb')))
  if (!place) throw new Error('there is no initdb on the PATH or in /usr/lib/postgresql: install postgresql')
  return place
}

/** PostgreSQL refuses to run as root. */
function unprivileged() {
  if (process.getuid() !== 0) return {}
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((line) => line.startsWith('postgres:'))
  const [, , uid, gid] = line ? line.split(':').map(Number) : [0, 0, 65534, 65534]
  return { uid, gid }
}

export class Cluster {
  static async create() {
    const cluster = new Cluster()
    cluster.user = unprivileged()
    process.setMaxListeners(50)
    cluster.directory = mkdtempSync(join(tmpdir(), 'sync-service-pg-'))
    if (cluster.user.uid !== undefined) chownSync(cluster.directory, cluster.user.uid, cluster.user.gid)
    cluster.data = join(cluster.directory, 'data')
    cluster.port = await freePort()
    const options = ['--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '-D', cluster.data]
    execFileSync(join(programs(), 'initdb'), options, { cwd: cluster.directory, stdio: ['ignore', 'ignore', 'inherit'], ...cluster.user })
    await cluster.start()
    return cluster
  }

  /** For tokio-postgres and for pg. */
  get connection() {
    return `host=127.0.0.1 port=${this.port} user=postgres dbname=postgres`
  }

  async start() {
    const settings = ['wal_level=logical', 'fsync=off', 'max_connections=100', 'listen_addresses=127.0.0.1', 'max_wal_senders=10']
    const options = ['-D', this.data, '-p', String(this.port), '-k', this.directory, ...settings.flatMap((one) => ['-c', one])]
    const settled = { cwd: this.directory, stdio: ['ignore', 'ignore', 'ignore'], ...this.user }
    this.process = guard(spawn(join(programs(), 'postgres'), options, settled), 'SIGQUIT')
    this.ended = new Promise((resolve) => this.process.once('exit', resolve))
    for (let attempt = 0; ; attempt++) {
      const client = this.client()
      try {
        await client.connect()
        await client.end()
        return
      } catch (error) {
        if (attempt > 300 || this.process.exitCode !== null) throw error
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  client() {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user: 'postgres', database: 'postgres' })
    client.on('error', () => {})
    return client
  }

  /** Ends the server: `SIGINT` ends all sessions, `SIGQUIT` is a crash. */
  async stop(signal = 'SIGINT') {
    this.process.kill(signal)
    await this.ended
  }

  async restart(signal) {
    await this.stop(signal)
    await this.start()
  }

  async remove() {
    await this.stop('SIGQUIT')
    rmSync(this.directory, { recursive: true, force: true })
  }
}
