// A browser with one page, obeying standard input: one JSON object with a member `do` per line, answered with one line. The stories that
// steer it are in tests/tests/browser*.rs. It ends, and the browser with it, when standard input does.

import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

/** Answers come within this or say what did not; below the patience of the story, so that the reason arrives. */
const PATIENCE_MS = 25_000

const browser = await chromium.launch({
  executablePath: process.env['AUTOBENCH_CHROMIUM'],
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
})
let page
/** What no page may do: log an error, throw, break the content policy, ask anybody but its daemon. */
const complaints = []
/** What servers answered to the handshakes of the page's sockets: `Sec-WebSocket-Extensions`, or an empty text. */
const extensions = []
/** Per WebSocket, the types of what it got. */
const sockets = []

const commands = {
  async open({ url, width, height, scheme }) {
    const origin = new URL(url).origin
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme })
    context.setDefaultTimeout(PATIENCE_MS)
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        console.error(`content policy: ${event.violatedDirective} forbids ${event.blockedURI}`)
      })
    })
    page = await context.newPage()
    const network = await context.newCDPSession(page)
    network.on('Network.webSocketHandshakeResponseReceived', ({ response }) => {
      const header = Object.entries(response.headers).find(([name]) => name.toLowerCase() === 'sec-websocket-extensions')
      extensions.push(header?.[1] ?? '')
    })
    await network.send('Network.enable')
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(`thrown: ${error.message}`))
    page.on('request', (request) => {
      const asked = new URL(request.url())
      if (asked.protocol !== 'data:' && asked.origin !== origin) complaints.push(`asked elsewhere: ${asked}`)
    })
    page.on('websocket', (socket) => {
      const types = []
      sockets.push(types)
      socket.on('framereceived', ({ payload }) => types.push(JSON.parse(payload.toString()).type))
      if (new URL(socket.url()).host !== new URL(url).host) complaints.push(`socket elsewhere: ${socket.url()}`)
    })
    await page.goto(url)
  },
  reload: async () => {
    await page.reload()
  },
  /** What a person sees, as text and attributes; null for what is not on the page. */
  look: () =>
    page.evaluate(() => {
      const find = (id) => document.querySelector(`[data-testid="${id}"]`)
      const text = (id) => find(id)?.textContent.trim() ?? null
      const samples = find('chart')?.getAttribute('data-samples')
      return {
        watts: text('watts'),
        phase: text('phase'),
        link: text('link-status'),
        linkStatus: find('link-status')?.getAttribute('data-status') ?? null,
        stale: find('pane-power-meter')?.getAttribute('data-stale') ?? null,
        staleText: text('stale'),
        chartSamples: samples == null ? 0 : Number(samples),
        bootId: window.autobench?.bootId() ?? null,
      }
    }),
  /** The mirror, and the watts on the page at the same moment: nothing can change between two statements of a page. */
  document: () =>
    page.evaluate(() => ({
      document: window.autobench?.document() ?? null,
      watts: document.querySelector('[data-testid="watts"]')?.textContent.trim() ?? null,
    })),
  /** What everything with this data-testid says, in the order of the page. */
  texts: ({ testid }) => page.evaluate((id) => [...document.querySelectorAll(`[data-testid="${id}"]`)].map((element) => element.textContent.trim()), testid),
  series: ({ endpointId }) => page.evaluate((id) => window.autobench?.series(id)?.samples ?? [], endpointId),
  sockets: () => sockets,
  /** What sticks out of the page to the side, and what is cut off in a box that does not scroll. */
  overflow: () =>
    page.evaluate(() => {
      const root = document.documentElement
      const out = []
      if (root.scrollWidth > root.clientWidth) out.push(`the page is ${root.scrollWidth} px wide in ${root.clientWidth} px`)
      const name = (element) => `${element.tagName.toLowerCase()}.${[...element.classList].join('.')} ${element.dataset.testid ?? ''}`
      for (const element of document.querySelectorAll('body *')) {
        const { left, right, width } = element.getBoundingClientRect()
        // A skip link waits outside the left edge until it has the focus; shapes inside a drawing are cut by the drawing.
        if (width === 0 || right <= 0 || element.closest('svg') !== (element.tagName === 'svg' ? element : null)) continue
        if (left < -0.5 || right > root.clientWidth + 0.5) {
          out.push(`${name(element)} reaches from ${Math.round(left)} to ${Math.round(right)} px`)
        }
        const { overflowX, textOverflow } = getComputedStyle(element)
        // What only a screen reader is to find is one pixel wide.
        if (width > 1 && overflowX === 'hidden' && textOverflow !== 'ellipsis' && element.scrollWidth > element.clientWidth + 1) {
          out.push(`${name(element)} cuts ${element.scrollWidth - element.clientWidth} px off`)
        }
      }
      return out
    }),
  shape: async ({ width, height, scheme }) => {
    await page.setViewportSize({ width, height })
    await page.emulateMedia({ colorScheme: scheme })
    // Two frames: layout observers have run and the chart has drawn itself.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(null)))))
  },
  /** A button, by the name that a screen reader gives it. */
  press: ({ name }) => page.getByRole('button', { name, exact: true }).click(),
  /** Types into a field, by the name of its label. */
  fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  /** The pointer goes to a button, by its name, and down there. */
  pointerDown: async ({ name }) => {
    await page.getByRole('button', { name, exact: true }).hover()
    await page.mouse.down()
  },
  pointerUpElsewhere: async () => {
    await page.mouse.move(2, 2, { steps: 4 })
    await page.mouse.up()
  },
  pointerUp: () => page.mouse.up(),
  click: ({ testid }) => page.getByTestId(testid).click(),
  /** One that a story left down comes up first, or this would be its repeat. */
  keyDown: async ({ code }) => {
    await page.keyboard.up(code)
    await page.keyboard.down(code)
  },
  /** Playwright lets every page believe that it has the focus; for this one it stops to. */
  useAnotherWindow: async () => {
    const context = page.context()
    const session = await context.newCDPSession(page)
    await session.send('Emulation.setFocusEmulationEnabled', { enabled: false })
    await page.bringToFront()
    const other = await context.newPage()
    await other.bringToFront()
    await other.close()
    await page.bringToFront()
    await session.detach()
  },
  /** Headless Chromium hides no tab: what a page asks and is told then is put in its place. */
  hide: () =>
    page.evaluate(() => {
      const told = () => document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))
      Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
      told()
      delete document.visibilityState
      told()
    }),
  closePage: () => page.close(),
  screenshot: async ({ path, full }) => {
    await page.screenshot({ path, fullPage: full === true })
  },
  complaints: () => complaints,
  extensions: () => extensions,
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer
  try {
    const request = JSON.parse(line)
    answer = { ok: true, value: (await commands[request.do](request)) ?? null }
  } catch (error) {
    answer = { ok: false, error: String(error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
await browser.close()
