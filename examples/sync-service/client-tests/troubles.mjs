// What goes wrong while clients sync.

import { cpSync, renameSync, rmSync, writeFileSync, appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { ALL_TABLES, insist } from './database.mjs'
import { pause } from './nodes.mjs'


/** Each gets the environment of the run, and returns when the service works again. */
export const TROUBLES = {
  async kill({ service, random }) {
    await service().kill('SIGKILL')
    await pause(random.below(500))
    await service().start()
  },

  /** Killed again and again, also while it starts. */
  async killOften({ service, random }) {
    for (let count = 0; count < 3; count++) {
      await service().kill('SIGKILL')
      const starting = service().start()
      starting.catch(() => {})
      await pause(random.below(700))
    }
    await service().kill('SIGKILL')
    await service().start()
  },

  async terminate({ service }) {
    const { code } = await service().kill('SIGTERM')
    if (code !== 0) throw new Error(`the service ended with ${code} after SIGTERM`)
    await service().start()
  },

  /** A new process starts next to the old one, and takes over when that one ends. */
  async deploy({ service, replace, random }) {
    const next = await replace.create()
    await next.start('waiting')
    const old = service()
    await replace.route(next)
    await pause(random.below(500))
    await old.kill(random.chance(0.5) ? 'SIGTERM' : 'SIGKILL')
    await replace.active(next)
  },

  async postgres({ cluster, random }) {
    await cluster.restart(random.pick(['SIGINT', 'SIGQUIT']))
  },

  /** The disk of the metadata and of the logs is full for some seconds. Needs the right to mount. */
  async diskFull({ data, isMounted, random }) {
    if (!isMounted) return console.log('skipped: the disk of the service cannot be filled without the right to mount')
    const ballast = join(data, 'ballast')
    writeFileSync(ballast, '')
    for (const bytes of [1 << 20, 1 << 12]) {
      try {
        for (;;) appendFileSync(ballast, Buffer.alloc(bytes))
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error
      }
    }
    await pause(1000 + random.below(3000))
    rmSync(ballast)
  },

  /** Metadata and logs are replaced by an older copy. */
  async restore({ service, data, random }) {
    const [now, copy] = [join(data, 'service'), join(data, 'copy')]
    await service().kill('SIGKILL')
    cpSync(now, copy, { recursive: true })
    await service().start()
    await pause(1500 + random.below(1000))
    await service().kill('SIGKILL')
    rmSync(now, { recursive: true })
    renameSync(copy, now)
    await service().start()
  },

  /** The replication slot is dropped, and the changes are lost. */
  async dropSlot({ sql }) {
    const slots = `select slot_name, active_pid from pg_replication_slots`
    for (const { slot_name, active_pid } of (await sql.query(slots)).rows) {
      for (let attempt = 0; attempt < 100; attempt++) {
        if (active_pid) await sql.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1', [slot_name])
        try {
          await sql.query('select pg_drop_replication_slot($1)', [slot_name])
          break
        } catch (error) {
          // The service is faster, and has it again.
          if (error.code !== '55006') throw error
        }
      }
    }
  },
}

/** Those that one process has as well as several. */
export const ANY_TROUBLES = {
  async nothing() {},

  /** Shapes are deleted by an operator. */
  async remove({ clients, service, random }) {
    for (let count = 0; count < 5; count++) {
      const { params } = random.pick(clients)
      const url = new URL(service().url)
      url.searchParams.set('table', params.table)
      if (params.where) url.searchParams.set('where', params.where)
      params.params?.forEach((value, at) => url.searchParams.set(`params[${at + 1}]`, value))
      if (params.columns) url.searchParams.set('columns', params.columns.map((name) => `"${name}"`).join(','))
      if (params.replica) url.searchParams.set('replica', params.replica)
      const response = await fetch(url, { method: 'DELETE' })
      if (response.status !== 202) throw new Error(`DELETE: ${response.status} ${await response.text()}`)
      await pause(random.below(200))
    }
  },

  /** More shapes are made than the service keeps. */
  async evict({ service, random }) {
    const create = async () => {
      const url = new URL(service().url)
      url.searchParams.set('table', random.pick(ALL_TABLES))
      url.searchParams.set('where', `stamp <> ${1_000_000 + random.below(1_000_000)}`)
      url.searchParams.set('offset', '-1')
      const response = await fetch(url)
      await response.text()
      if (![200, 503].includes(response.status)) throw new Error(`a new shape: ${response.status}`)
    }
    for (let count = 0; count < 4; count++) await Promise.all(Array.from({ length: 20 }, create))
  },

  async truncate({ sql, random }) {
    await insist(sql, `truncate ${random.pick(ALL_TABLES)}`)
  },

  async alter({ sql, random }) {
    const table = random.pick(ALL_TABLES)
    await insist(sql, `alter table ${table} drop column if exists extra`)
    if (random.chance(0.7)) await insist(sql, `alter table ${table} add column extra ${random.pick(['int default 5', 'text', 'bool not null default true'])}`)
  },

  /** Large transactions. */
  async bulk({ sql }) {
    await insist(sql, 'update items set note = repeat(md5(id::text), 40)')
    await insist(sql, 'update items set note = left(note, 20)')
  },
}
