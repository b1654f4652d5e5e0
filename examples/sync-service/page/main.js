import { Shape, ShapeStream } from '@electric-sql/client'

const find = (id) => document.getElementById(id)
/** Writes go to the application and not to the sync service: here to the next port. */
const writes = `${location.protocol}//${location.hostname}:${Number(location.port) + 1}/issues`

let stop = () => {}

function show(where) {
  stop()
  const aborter = new AbortController()
  const stream = new ShapeStream({
    url: `${location.origin}/v1/shape`,
    params: { table: 'issues', ...(where && { where }) },
    signal: aborter.signal,
    warnOnHttp: false,
    backoffOptions: { initialDelay: 200, maxDelay: 2000, multiplier: 2, onFailedAttempt: () => status('offline', 'Offline: trying again') },
    onError: (error) => problem(error.message),
  })
  const shape = new Shape(stream)
  stream.subscribe(() => stream.isUpToDate && status('live', 'Live'))
  shape.subscribe(({ rows }) => list(rows))
  // A request that waits for changes counts as connected; nothing is delivered meanwhile.
  const timer = setInterval(() => stream.isConnected() && stream.isUpToDate && status('live', 'Live'), 500)
  stop = () => {
    clearInterval(timer)
    aborter.abort()
    stream.unsubscribeAll()
  }
}

function status(state, text) {
  const element = find('status')
  if (element.dataset.state === state) return
  element.dataset.state = state
  element.textContent = text
}

function problem(text) {
  find('problem').hidden = !text
  find('problem').textContent = text
}

/** Changes only what differs, so that the focus stays where it is. */
function list(rows) {
  const items = find('issues')
  const known = new Map([...items.children].map((item) => [item.dataset.id, item]))
  const wanted = rows.sort((a, b) => b.id - a.id)
  wanted.forEach((issue, at) => {
    const item = known.get(String(issue.id)) ?? newItem(issue.id)
    known.delete(String(issue.id))
    item.classList.toggle('done', issue.done)
    item.querySelector('span').textContent = issue.title
    item.querySelector('input').checked = issue.done
    item.querySelector('button').setAttribute('aria-label', `Delete ${issue.title}`)
    if (items.children[at] !== item) items.insertBefore(item, items.children[at] ?? null)
  })
  for (const item of known.values()) item.remove()
  find('count').textContent = wanted.length === 1 ? '1 issue' : `${wanted.length} issues`
}

function newItem(id) {
  const item = document.createElement('li')
  item.dataset.id = id
  item.innerHTML = '<label><input type="checkbox" /> <span></span></label> <button type="button">Delete</button>'
  item.querySelector('input').addEventListener('change', ({ target }) => write('PATCH', { id, done: target.checked }))
  item.querySelector('button').addEventListener('click', () => write('DELETE', { id }))
  return item
}

async function write(method, issue) {
  try {
    const response = await fetch(writes, { method, body: JSON.stringify(issue) })
    problem(response.ok ? '' : await response.text())
    return response.ok
  } catch {
    problem('The change was not saved: the application cannot be reached.')
  }
}

find('new').addEventListener('submit', async (event) => {
  event.preventDefault()
  const input = find('title')
  if (await write('POST', { title: input.value })) input.value = ''
})
for (const radio of document.querySelectorAll('[name=show]')) radio.addEventListener('change', () => show(radio.value))
show('')
