// Plays the recordings in Chromium and saves what the page looks like to shots/. Needs a built page and Debian's chromium.
//     npm run build && npm run screenshots [-- NAME...]

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { preview } from 'vite'

const root = join(import.meta.dirname, '..')
const shots = join(root, 'shots')

/** What the daemon sends too: the page has to work without inline scripts and styles. */
const POLICY = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; object-src 'none'"

const SHOTS = [
  { name: 'phone-dark', recording: 'bench', width: 360, height: 780, scheme: 'dark', full: true },
  { name: 'phone-light', recording: 'bench', width: 360, height: 780, scheme: 'light', full: true },
  { name: 'desk-dark', recording: 'bench', width: 1280, height: 800, scheme: 'dark' },
  { name: 'desk-light', recording: 'bench', width: 1280, height: 800, scheme: 'light' },
  { name: 'wall-dark', recording: 'bench', width: 2560, height: 1440, scheme: 'dark' },
  { name: 'wall-light', recording: 'bench', width: 2560, height: 1440, scheme: 'light' },
  { name: 'trouble-dark', recording: 'trouble', width: 1280, height: 800, scheme: 'dark', full: true },
  { name: 'pc-dark', recording: 'pc', width: 1280, height: 800, scheme: 'dark', full: true },
  { name: 'pc-phone', recording: 'pc', width: 360, height: 780, scheme: 'light', full: true },
  { name: 'trouble-phone', recording: 'trouble', width: 360, height: 780, scheme: 'light', full: true },
]

const wanted = process.argv.slice(2)
mkdirSync(shots, { recursive: true })
const server = await preview({ root, preview: { host: '127.0.0.1', port: 0, headers: { 'content-security-policy': POLICY } } })
const address = server.resolvedUrls.local[0]
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
let complaints = 0
try {
  for (const shot of SHOTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const context = await browser.newContext({ viewport: { width: shot.width, height: shot.height }, colorScheme: shot.scheme, hasTouch: shot.width < 600 })
    const page = await context.newPage()
    const complain = (text) => {
      complaints += 1
      console.error(`${shot.name}: ${text}`)
    }
    page.on('console', (message) => message.type() === 'error' && complain(message.text()))
    page.on('pageerror', (error) => complain(error.message))
    if (shot.recording === 'bench') await page.addInitScript(() => localStorage.setItem('autobench.chartWindowMs', '600000'))
    await page.goto(`${address}?replay=fixtures/${shot.recording}.jsonl`)
    await page.waitForFunction(() => Number(document.querySelector('[data-testid=chart]')?.getAttribute('data-samples')) > 5)
    await page.waitForTimeout(2500)
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    if (overflow > 0) complain(`the page is ${overflow} px too wide`)
    await page.screenshot({ path: join(shots, `${shot.name}.png`), fullPage: shot.full === true })
    console.log(`${shot.name}: ${await page.textContent('[data-testid=watts]')} W at version ${await page.evaluate(() => window.autobench.version())}`)
    await context.close()
  }
} finally {
  await browser.close()
  await server.close()
}
process.exitCode = complaints === 0 ? 0 : 1
