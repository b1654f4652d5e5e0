// The page in a real browser: two windows, an edit in one appears in the other, also after the service was
// killed and the connection was lost.
//
// node page.mjs [--screenshots DIRECTORY]

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { createIssues, serveWrites } from './application.mjs'
import { Cluster, freePort } from './cluster.mjs'
import { Service } from './service.mjs'

const { values: options } = parseArgs({ options: { screenshots: { type: 'string' } } })
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
if (!executablePath) {
  console.log('skipped: there is no Chromium (Debian: chromium)')
  process.exit(0)
}
const directory = mkdtempSync(join(tmpdir(), 'sync-service-page-'))
const cluster = await Cluster.create()
const sql = cluster.client()
await sql.connect()
await createIssues(sql)
let port = await freePort()
const page = join(import.meta.dirname, '../page/dist')
const service = new Service({ cluster, data: join(directory, 'data'), port, log: join(directory, 'service.log'), options: ['--page', page] })
const origin = `http://127.0.0.1:${port}`
const writes = await serveWrites(cluster, port + 1, origin)
await service.start()
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })

async function open(settings) {
  const context = await browser.newContext(settings)
  const window = await context.newPage()
  window.on('pageerror', (error) => console.error('in the page:', error.message))
  await window.goto(origin)
  await window.locator('#status[data-state=live]').waitFor()
  return window
}

async function screenshot(window, name) {
  if (options.screenshots) await window.screenshot({ path: join(options.screenshots, `${name}.png`) })
}

const has = (window, text) => window.getByText(text, { exact: true }).waitFor({ timeout: 30_000 })

let failed = false
try {
  const one = await open({ viewport: { width: 800, height: 640 }, colorScheme: 'light' })
  const other = await open({ viewport: { width: 390, height: 740 }, colorScheme: 'dark', hasTouch: true, isMobile: true })

  // By keyboard alone.
  await one.getByLabel('New issue').focus()
  await one.keyboard.type('Written in one window')
  await one.keyboard.press('Enter')
  await has(other, 'Written in one window')
  await other.getByRole('checkbox', { name: 'Written in one window' }).check()
  await one.locator('li.done', { hasText: 'Written in one window' }).waitFor()
  console.log('an edit in one window appears in the other')
  await screenshot(one, 'service-light')
  await screenshot(other, 'service-dark-phone')

  // A row moves into another shape, and out of it.
  await other.getByLabel('Done', { exact: true }).check()
  await has(other, 'Written in one window')
  await one.getByRole('checkbox', { name: 'Written in one window' }).uncheck()
  await other.getByText('Written in one window').waitFor({ state: 'detached' })
  await other.getByLabel('All', { exact: true }).check()
  console.log('rows move between shapes')

  await other.context().setOffline(true)
  await sql.query("insert into issues (title) values ('Written while one is offline')")
  await has(one, 'Written while one is offline')
  await other.context().setOffline(false)
  await has(other, 'Written while one is offline')
  console.log('a window that was offline catches up')

  await service.kill('SIGKILL')
  await sql.query("insert into issues (title) values ('Written while the service is down')")
  await one.locator('#status[data-state=offline]').waitFor()
  await screenshot(one, 'service-offline')
  await service.start()
  for (const window of [one, other]) {
    await has(window, 'Written while the service is down')
    await window.locator('#status[data-state=live]').waitFor()
  }
  console.log('windows catch up after the service was killed')

  await one.getByRole('button', { name: 'Delete Written in one window' }).click()
  await other.getByText('Written in one window').waitFor({ state: 'detached' })
  const { rows } = await sql.query('select title from issues order by id desc')
  for (const window of [one, other]) {
    assert.deepEqual(await window.locator('#issues span').allTextContents(), rows.map((row) => row.title))
    // Nothing is cut off at the side of a phone.
    assert.ok(await window.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
    const unnamed = await window.evaluate(() => [...document.querySelectorAll('input, button')]
      .filter((one) => !one.labels?.length && !one.textContent.trim() && !one.getAttribute('aria-label')).length)
    assert.equal(unnamed, 0, 'every control has a name')
  }
  console.log('the page has the rows of the database')
} catch (error) {
  failed = true
  console.error(error, `\nthe log of the service is ${service.log}`)
}
await browser.close()
await service.kill(failed ? 'SIGKILL' : 'SIGTERM')
writes.close()
await sql.end()
await cluster.remove()
if (!failed) rmSync(directory, { recursive: true, force: true })
process.exit(failed ? 1 : 0)
