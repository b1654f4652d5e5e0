// The tables of the tests, random writes to them, and random shapes over them.

const TABLES = `
  create table items (
    id int primary key, owner uuid not null, title text not null, done bool not null default false,
    price numeric(12, 2), score float8, "dueAt" timestamptz, note text, stamp int not null default 0
  );
  create table pairs (a text, b int8, value varchar(40), stamp int not null default 0, primary key (a, b));
  create schema "Other";
  create table "Other"."Odd ""name""" ("Key/" text primary key, flag bool, "Grün 🌱" text, stamp int not null default 0);
`

/** Words with what needs care in JSON, keys and patterns. */
const WORDS = ['plain', 'Ümläut', 'quote"s', "it's", 'back\\slash', 'slash/es', '100%', 'under_score', '', '\u0007bell', '日本', 'new\nline']
const OWNERS = [0, 1, 2, 3].map((n) => `a0000000-0000-4000-8000-00000000000${n}`)

export const ALL_TABLES = ['items', 'pairs', '"Other"."Odd ""name"""']

export async function createTables(sql, rows) {
  await sql.query(TABLES)
  for (let id = 0; id < rows; id++) await sql.query(...insertItem(id, id * 7919))
  for (let b = 0; b < rows / 2; b++) await sql.query('insert into pairs values ($1, $2, $3)', [WORDS[b % WORDS.length], b, WORDS[(b * 5) % WORDS.length]])
  for (const word of WORDS) await sql.query('insert into "Other"."Odd ""name""" values ($1, true)', [word])
}

function insertItem(id, seed) {
  const word = WORDS[seed % WORDS.length]
  // A note that is stored out of line, which an update of another column does not send.
  const note = seed % 5 === 0 ? Array.from({ length: 3000 }, (_, n) => ((n * seed) % 89).toString(36)).join('') : word
  const text = `insert into items (id, owner, title, done, price, score, "dueAt", note)
    values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`
  const price = seed % 7 === 0 ? null : ((seed % 20_000) - 5_000) / 100
  const due = seed % 6 === 0 ? null : new Date(Date.UTC(2026, seed % 12, 1 + (seed % 28), seed % 24)).toISOString()
  return [text, [id, OWNERS[seed % 4], word, seed % 2 === 0, price, seed % 11 === 0 ? NaN : (seed % 1000) / 7, due, note]]
}

/** Does one random transaction. */
export async function write(sql, random, rows) {
  const id = random.below(rows)
  const statements = [
    () => sql.query(...insertItem(random.below(rows * 2), random.below(1_000_000))),
    () => sql.query('update items set done = not done where id = $1', [id]),
    () => sql.query('update items set owner = $2, price = price + 1 where id = $1', [id, random.pick(OWNERS)]),
    () => sql.query('update items set title = $2, score = score * 2 where id % 17 = $1', [id % 17, random.pick(WORDS)]),
    () => sql.query('update items set price = null, "dueAt" = now() where id = $1', [id]),
    () => sql.query('update items set note = note || $2 where id = $1', [id, random.pick(WORDS)]),
    () => sql.query('delete from items where id = $1', [id]),
    () => sql.query('update items set id = $2 where id = $1 and not exists (select from items where id = $2)', [id, random.below(rows * 2)]),
    () => sql.query('insert into pairs values ($1, $2, $3) on conflict (a, b) do update set value = excluded.value', [random.pick(WORDS), random.below(rows), random.pick(WORDS)]),
    () => sql.query('update pairs set b = b + 100000 where b = $1', [random.below(rows)]),
    () => sql.query('delete from pairs where b = $1', [random.below(rows)]),
    () => sql.query('insert into "Other"."Odd ""name""" values ($1, $2) on conflict ("Key/") do update set flag = excluded.flag', [random.pick(WORDS) + random.below(9), random.pick([true, false, null])]),
  ]
  await sql.query('begin')
  try {
    for (let count = 1 + random.below(4); count > 0; count--) await random.pick(statements)()
    await sql.query(random.chance(0.05) ? 'rollback' : 'commit')
  } catch (error) {
    // Two writers may have locked each other out.
    await sql.query('rollback')
    if (!['40P01', '40001', '23505', '55P03'].includes(error.code)) throw error
  }
}

/** Does a statement, again if other writers lock it out. */
export async function insist(sql, statement, values) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sql.query(statement, values)
    } catch (error) {
      if (error.code !== '40P01' || attempt === 20) throw error
    }
  }
}

/** Changes every row, so that a client that is stuck differs. */
export async function stamp(sql, round) {
  for (const table of ALL_TABLES) await insist(sql, `update ${table} set stamp = $1`, [round])
}

/** Returns a random shape that no other number has: what the client asks for. */
export function definition(random, number) {
  const params = condition(random)
  const own = `stamp <> ${-number}`
  params.where = params.where ? `(${params.where}) and ${own}` : own
  return params
}

function condition(random) {
  const table = random.pick(['items', 'items', 'public.items', 'pairs', '"Other"."Odd ""name"""'])
  const params = { table }
  if (random.chance(0.4)) params.replica = 'full'
  if (table.endsWith('items')) {
    if (random.chance(0.3)) params.columns = random.pick([['id', 'title'], ['id', 'dueAt', 'done'], ['id', 'stamp', 'note']])
    const [where, values] = random.pick([
      [undefined], ['done'], ['not done'], ['owner = $1', [random.pick(OWNERS)]], ['id < $1', [String(random.below(200))]],
      ['price > $1 and price <= $2', ['-5', '60.5']], ['price is null or done = true'], ['title like $1', [random.pick(['%s%', 'un_er%', '100\\%', '%'])]],
      ['owner in ($1, $2) and not (id between 10 and 60)', [OWNERS[0], OWNERS[2]]], ['score >= 50'], ['score <> $1', ['3']],
      ['"dueAt" >= $1', ['2026-06-01T00:00:00Z']], ['"dueAt" is not null and "dueAt" < $1', ['2026-09-15 12:00:00+00']],
      ['title not in ($1, $2)', ['plain', "it's"]], [`id >= ${random.below(50)} and id < ${50 + random.below(300)}`], ['stamp >= 0 or id is not null'],
    ])
    if (where) params.where = where
    if (values) params.params = values
  } else if (table === 'pairs') {
    const [where, values] = random.pick([[undefined], ['a = $1', [random.pick(WORDS)]], ['b > 10 and a <> $1', ['plain']], ['value is null or value like $1', ['%e%']]])
    if (where) params.where = where
    if (values) params.params = values
  } else {
    const where = random.pick([undefined, 'flag', 'flag is null', 'not flag', '"Key/" <> \'plain\''])
    if (where) params.where = where
  }
  return params
}

const AS_TEXT = { getTypeParser: () => (value) => value }

/** Returns the rows of a shape, as the database has them. */
export async function rowsOf(sql, { table, where, params = [], columns }) {
  const list = columns ? columns.map((name) => `"${name}"`).join(', ') : '*'
  // Each constant is a string of unknown type, as in the shape.
  const literal = (_, number) => `'${params[number - 1].replaceAll("'", "''")}'`
  const condition = where ? ` where ${where.replace(/\$(\d)/g, literal)}` : ''
  const { rows } = await sql.query({ text: `select ${list} from ${table}${condition}`, types: AS_TEXT })
  return rows
}

/** Returns rows in a form that is equal for equal rows in any order. */
export function canonical(rows) {
  return rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort().join('\n')
}
