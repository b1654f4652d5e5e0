// The application of the page: it takes the writes. Reads come from the sync service.

import { createServer } from 'node:http'

const TABLE = `create table issues (
  id int generated always as identity primary key, title text not null, done bool not null default false
)`
const SAMPLES = ['Log rows twice after a restart', 'Make the first sync faster', 'Show who is online', 'Explain offsets in the docs']

export async function createIssues(sql) {
  await sql.query(TABLE)
  for (const title of SAMPLES) await sql.query('insert into issues (title, done) values ($1, $2)', [title, title.includes('docs')])
}

const WRITES = {
  POST: ({ title }) => ['insert into issues (title) values ($1)', [String(title).slice(0, 200)]],
  PATCH: ({ id, done }) => ['update issues set done = $2 where id = $1', [Number(id), Boolean(done)]],
  DELETE: ({ id }) => ['delete from issues where id = $1', [Number(id)]],
}

/** Serves the writes of the page on a port of this machine. `origin` is that of the page. */
export async function serveWrites(cluster, port, origin) {
  const server = createServer(async (request, response) => {
    const headers = { 'access-control-allow-origin': origin, 'access-control-allow-methods': 'POST, PATCH, DELETE' }
    const reply = (status, text = '') => response.writeHead(status, headers).end(text)
    if (request.method === 'OPTIONS') return reply(204)
    if (request.url !== '/issues' || !(request.method in WRITES)) return reply(404)
    const sql = cluster.client()
    try {
      let body = ''
      for await (const chunk of request) {
        body += chunk
        if (body.length > 10_000) return reply(413)
      }
      const statement = WRITES[request.method](JSON.parse(body))
      await sql.connect()
      await sql.query(...statement)
      reply(204)
    } catch (error) {
      reply(500, error.message)
    } finally {
      await sql.end().catch(() => {})
    }
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return server
}
