// @vitest-environment happy-dom
// The pane of a front panel: what is seen of it, what is asked of it and confirmed first, what is held and let go, and when nothing can be asked.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AppState } from '../src/wire/generated/wire'
import { readFrontPanel } from '../src/wire/frontPanel'
import type { ClientMessage, CommandRecord } from '../src/wire/types'
import { close, daemon, open, pass, text } from './support/page'
import { T0, pcJson } from './support/pc'

vi.mock('uplot', () => ({
  default: class {
    width = 400
    bbox = { width: 400 }
    data: unknown[] = [[], []]
    setData(data: unknown[]) {
      this.data = data
    }
    setSize() {}
    destroy() {}
  },
}))

const iso = (ms: number) => new Date(T0 + ms).toISOString()

describe('the slice of a front panel', () => {
  it('is read carefully: what is not there is unknown', () => {
    expect(readFrontPanel({ phase: 'ready', powerSense: 'dim', hddActive: 'x', currentOp: 7, operationHistory: [3] })).toEqual({
      phase: 'ready',
      message: null,
      powerSense: 'unknown',
      hddActive: null,
      held: { power: null, reset: null },
      queueDepth: null,
      currentOp: null,
      lastOp: null,
      lastError: null,
    })
    expect(readFrontPanel({})).toBeUndefined()
    expect(readFrontPanel(pcJson()['frontPanel'])?.lastOp).toMatchObject({ status: 'completed', createdAt: T0 - 60_000 })
  })
})

describe('the pane of a front panel', () => {
  let bench: ReturnType<typeof daemon>

  beforeEach(() => {
    vi.useFakeTimers({ now: T0 })
    localStorage.clear()
    bench = daemon()
    open(bench.opener)
  })

  afterEach(() => {
    close()
    vi.useRealTimers()
  })

  type Slice = Record<string, unknown>
  const slice = (document: AppState) => document['frontPanel'] as Slice

  async function shows(change: (document: AppState) => void = () => undefined): Promise<void> {
    bench.greet(12, pcJson(change))
    await pass(50)
  }

  const pane = () => document.querySelector('[data-testid="pane-front-panel"]') as HTMLElement
  const button = (label: string) => [...pane().querySelectorAll('button')].find((one) => one.textContent?.trim() === label) as HTMLButtonElement
  const lamps = () => [...pane().querySelectorAll('[data-testid="lamp"]')].map((lamp) => `${lamp.getAttribute('data-lamp')}: ${lamp.querySelector('dd')?.textContent?.trim()}`)
  const sent = <T extends ClientMessage['type']>(type: T) => bench.sent.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type)
  const said = (at: number) => pane().querySelectorAll('[data-testid="hold-said"]')[at]?.textContent

  function record(commandId: string, status: CommandRecord['status'], more: Partial<CommandRecord> = {}): object {
    return { type: 'command_status', commandId, device: 'atx', name: 'hold', actor: 'local', status, queuedAt: iso(0), deadlineAt: iso(30_000), ...more }
  }

  async function click(label: string): Promise<void> {
    button(label).click()
    await pass(1)
  }

  async function point(label: string, type: string): Promise<void> {
    button(label).dispatchEvent(new PointerEvent(type, { button: 0, isPrimary: true, pointerId: 1, bubbles: true, cancelable: true }))
    await pass(1)
  }

  async function answer(more: object): Promise<void> {
    bench.says({ ...more, id: (bench.sent.at(-1) as { id: string }).id })
    await pass(1)
  }

  const HOLD = 'Hold power while pressed'

  it('is chosen by the type of the device', async () => {
    await shows()
    expect(pane().textContent).toContain('Front panel')
    expect(text('panel-phase')).toBe('ready')
    expect(pane().getAttribute('data-stale')).toBe('false')
  })

  it.each<[string, Slice, string[]]>([
    ['on, with a disk at work', { hddActive: true }, ['Power: on', 'Disk: active', 'Power button: not pressed', 'Reset button: not pressed']],
    ['off', { powerSense: 'off', powerButtonHeld: true }, ['Power: off', 'Disk: quiet', 'Power button: pressed', 'Reset button: not pressed']],
    ['unknown', { powerSense: 'unknown', hddActive: null }, ['Power: unknown', 'Disk: unknown', 'Power button: not pressed', 'Reset button: not pressed']],
  ])('says of a PC that is %s so in words', async (_, change, shown) => {
    await shows((document) => Object.assign(slice(document), change))
    expect(lamps()).toEqual(shown)
  })

  it('says that lights are those from before, when the link is down or the board is not ready', async () => {
    await shows((document) => Object.assign(slice(document), { phase: 'identifying', message: 'asked twice' }))
    expect(lamps()[0]).toBe('Power: on · last known')
    expect(text('panel-notice')).toBe('The front panel is identifying: asked twice')
    expect(text('panel-blocked')).toBe('The front panel is identifying: asked twice')
    bench.drop()
    await pass(10)
    expect(text('panel-notice')).toContain('no connection to the daemon')
    expect(pane().getAttribute('data-stale')).toBe('true')
  })

  it('asks before an intent is sent, takes no for an answer, and tells what became of it', async () => {
    await shows()
    await click('Cycle …')
    expect(sent('command')).toEqual([])
    expect(pane().textContent).toContain("Cuts the PC's power and switches it on again. This can harm what the bench runs.")
    expect(document.activeElement?.textContent).toBe('Do not')
    await click('Do not')
    expect(document.activeElement).toBe(button('Cycle …'))
    await click('Cycle …')
    await click('Cycle now')
    expect(sent('command')).toMatchObject([{ device: 'atx', name: 'cycle', args: {} }])
    await answer({ type: 'ack', ok: true, commandId: 'c-1' })
    bench.says(record('c-1', 'failed', { name: 'cycle', completedAt: iso(900), reason: 'not-confirmed: the power sense stayed on' }))
    await pass(1)
    expect(text('panel-asked')).toContain('failed')
    expect(text('panel-asked')).toContain('not-confirmed: the power sense stayed on')
  })

  it('says so when a grant is missing', async () => {
    await shows()
    await click('On …')
    await click('On now')
    await answer({ type: 'error', code: 'not-granted', message: 'plugins.toml does not grant "on" to the device atx' })
    expect(text('panel-asked')).toContain('does not grant "on"')
    expect(text('panel-asked')).toContain('not-granted')
  })

  it('presses a button for as long as was asked, if that is a length', async () => {
    await shows()
    const input = pane().querySelector<HTMLInputElement>('.length input') as HTMLInputElement
    const fill = async (value: string) => {
      input.value = value
      input.dispatchEvent(new Event('input'))
      await pass(1)
    }
    await fill('20')
    expect(button('Press reset …').disabled).toBe(true)
    expect(pane().textContent).toContain('50 to 10000 whole milliseconds')
    await fill('700')
    await click('Press reset …')
    await click('Press reset now')
    expect(sent('command')).toMatchObject([{ name: 'press', args: { button: 'reset', ms: 700 } }])
  })

  it('holds nothing before it is unlocked, and locks itself', async () => {
    await shows()
    expect(button(HOLD).disabled).toBe(true)
    await click('Unlock holding')
    expect(button(HOLD).disabled).toBe(false)
    await pass(30_000)
    expect(button(HOLD).disabled).toBe(true)
    await click('Unlock holding')
    window.dispatchEvent(new Event('blur'))
    await pass(1)
    expect(button(HOLD).disabled).toBe(true)
  })

  describe('with holding unlocked', () => {
    beforeEach(async () => {
      await shows()
      await click('Unlock holding')
    })

    async function held(): Promise<void> {
      await point(HOLD, 'pointerdown')
      await answer({ type: 'ack', ok: true, commandId: 'h-1' })
    }

    it('holds a button while the pointer is down, says for how long, and lets go with it', async () => {
      await held()
      expect(sent('command')).toMatchObject([{ name: 'hold', args: { button: 'power' } }])
      expect(button(HOLD).getAttribute('aria-pressed')).toBe('true')
      expect(button('Hold reset while pressed').disabled).toBe(true)
      await pass(1_600)
      expect(sent('lease.renew')).toHaveLength(3)
      expect(text('held-for')).toBe('for 1.6 s')
      await point(HOLD, 'pointerup')
      await point(HOLD, 'lostpointercapture')
      expect(sent('lease.end')).toMatchObject([{ commandId: 'h-1' }])
      expect(said(0)).toBe('Let go after 1.6 s.')
      await pass(3_000)
      expect(sent('lease.renew')).toHaveLength(3)
    })

    it.each(['pointercancel', 'lostpointercapture', 'blur'])('lets go at %s', async (type) => {
      await held()
      await point(HOLD, type)
      expect(sent('lease.end')).toHaveLength(1)
    })

    it('lets go as soon as the daemon has taken what was let go before', async () => {
      await point(HOLD, 'pointerdown')
      const asked = bench.sent.at(-1) as { id: string }
      await point(HOLD, 'pointerup')
      await point(HOLD, 'pointerdown')
      expect([sent('command').length, sent('lease.end').length]).toEqual([1, 0])
      bench.says({ type: 'ack', ok: true, id: asked.id, commandId: 'h-1' })
      await pass(1)
      expect(sent('lease.end')).toMatchObject([{ commandId: 'h-1' }])
    })

    it('holds by Space while it is down, however often it repeats', async () => {
      const key = (type: string, more = {}) => button(HOLD).dispatchEvent(new KeyboardEvent(type, { key: ' ', cancelable: true, bubbles: true, ...more }))
      key('keydown')
      for (let at = 0; at < 5; at += 1) key('keydown', { repeat: true })
      await pass(1)
      expect(sent('command')).toHaveLength(1)
      await answer({ type: 'ack', ok: true, commandId: 'h-1' })
      key('keyup')
      await pass(1)
      expect(sent('lease.end')).toHaveLength(1)
    })

    it('says so when the daemon has let go by itself', async () => {
      await held()
      await pass(500)
      await answer({ type: 'error', code: 'unknown-lease', message: 'not any more' })
      expect(said(0)).toContain('The daemon does not hold it any more')
      expect(button(HOLD).getAttribute('aria-pressed')).toBe('false')
      await pass(3_000)
      expect(sent('lease.renew')).toHaveLength(1)
    })

    it('says why a hold was not done', async () => {
      await held()
      bench.says(record('h-1', 'blocked', { reason: 'busy: something else is under way, and a hold does not wait' }))
      await pass(1)
      expect(said(0)).toContain('busy: something else is under way')
    })

    it('ends with the socket', async () => {
      await held()
      bench.drop()
      await pass(1)
      expect(said(0)).toContain('The connection broke')
      expect(sent('lease.end')).toEqual([])
      expect(button(HOLD).disabled).toBe(true)
    })

    it('lets go when the pane goes', async () => {
      await held()
      bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: pcJson((document) => delete document.devices['atx'], 13) })
      await pass(50)
      expect(sent('lease.end')).toHaveLength(1)
    })
  })

  it.each<[string, (document: AppState) => void, string]>([
    ['its line is away', (document) => Object.assign(document.devices['atx']?.ports['main'] ?? {}, { attached: false }), 'The device is not there: port main not attached.'],
    ['its driver is quarantined', (document) => Object.assign(document.devices['atx'] ?? {}, { status: 'quarantined', reason: 'five strikes' }), 'The driver is quarantined: five strikes'],
    ['the board does not answer', (document) => Object.assign(slice(document), { phase: 'error', message: 'no token' }), 'The front panel is error: no token'],
  ])('can be asked for nothing while %s, and says why', async (_, change, why) => {
    await shows(change)
    expect(text('panel-blocked')).toBe(why)
    const buttons = [...pane().querySelectorAll('button')]
    expect(buttons.length).toBeGreaterThan(8)
    expect(buttons.filter(({ disabled }) => !disabled)).toEqual([])
    expect(document.getElementById(button('On …').getAttribute('aria-describedby') ?? '')?.textContent).toBe(why)
  })

  it('shows what is under way with a way to give it up, how many wait, and what went wrong last', async () => {
    await shows((document) =>
      Object.assign(slice(document), {
        busy: true,
        queueDepth: 2,
        currentOp: { id: 'c-7', kind: 'force-off', status: 'running', createdAt: T0, requestedBy: 'wall', label: "cut the PC's power" },
        lastError: { at: T0, scope: 'protocol', message: 'the board let go by itself' },
      }),
    )
    bench.says(record('c-7', 'acked', { name: 'force-off', actor: 'wall', sentAt: iso(1), ackedAt: iso(8) }))
    await pass(200)
    expect(text('queue-now')).toBe("Now: cut the PC's power")
    expect(text('queue-depth')).toBe('2 wait')
    expect(text('queue-row')).toContain('Force off wall, under way')
    expect(text('queue-row')).toContain('+8 ms')
    expect(text('last-op')).toContain('completed: switch the PC on')
    expect(text('last-error')).toContain('protocol: the board let go by itself')
    await click('Cancel')
    expect(sent('command.cancel')).toMatchObject([{ commandId: 'c-7' }])
  })

  it('gives its row the height that it needs, and leaves the rest of the page to the others', async () => {
    const place = (pane: string, row: number, col: number, more: object = {}) => ({ id: pane, pane, row, col, rowSpan: 1, colSpan: 1, ...more })
    const rows = () => (document.querySelector('.grid') as HTMLElement).style.getPropertyValue('--rows')
    const meter = place('power-meter', 0, 0, { device: 'meter', slice: 'powerMeter' })
    await shows((document) => (document.layout = { rows: 2, cols: 2, panes: [meter, place('logs', 0, 1), place('state', 1, 0)] }))
    expect(rows()).toBe('minmax(min-content, 3fr) minmax(min-content, 2fr)')
    // Beside a front panel the meter is as high as that is; a keyboard that covers two rows decides about neither.
    const panes = [
      meter,
      place('atx', 0, 1, { device: 'atx', slice: 'frontPanel' }),
      place('keyboard', 1, 0, { device: 'keyboard', slice: 'ps2Keyboard', rowSpan: 2 }),
      place('commands', 1, 1),
      place('logs', 2, 1),
      place('state', 3, 0, { colSpan: 2 }),
    ]
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: pcJson((document) => (document.layout = { rows: 4, cols: 2, panes }), 13) })
    await pass(50)
    expect(rows()).toBe('auto minmax(min-content, 2fr) minmax(min-content, 2fr) minmax(min-content, 2fr)')
    const order = [...document.querySelectorAll('.cell h2')].map((heading) => heading.textContent)
    expect(order).toEqual(['Power meter', 'Front panel', 'Keyboard', 'Commands', 'Logs', 'State'])
  })

  it('says what it does not have', async () => {
    await shows((document) => delete document['frontPanel'])
    expect(pane().textContent).toContain('The state has no member “frontPanel” yet')
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: pcJson((document) => Object.assign(document, { frontPanel: {} }), 13) })
    await pass(50)
    expect(pane().textContent).toContain('is not the slice of a front panel')
  })
})
