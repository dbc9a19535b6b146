// @vitest-environment happy-dom
// The pane of a keyboard: keys that are captured and let go, texts, macros, the queue, and when nothing can be sent.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AppState } from '../src/wire/generated/wire'
import { readKeyboard } from '../src/wire/keyboard'
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

describe('the slice of a keyboard', () => {
  it('is read carefully: what is not there is unknown', () => {
    const layouts = [{ name: 'us', title: 'US English' }, { name: 'fr' }, { title: 'nameless' }, 7]
    expect(readKeyboard({ phase: 'ready', lights: { num: true, caps: 'x' }, heldKeys: ['KeyA', 3], layouts })).toEqual({
      phase: 'ready',
      message: null,
      power: 'unknown',
      powerSense: 'unknown',
      lights: { num: true, caps: null, scroll: null },
      heldKeys: ['KeyA'],
      queueDepth: null,
      currentOp: null,
      lastOp: null,
      lastError: null,
      layout: null,
      layouts: [{ name: 'us', title: 'US English' }, { name: 'fr', title: 'fr' }],
      macros: [],
    })
    expect(readKeyboard([])).toBeUndefined()
    expect(readKeyboard({ phase: 'ready', lights: null })?.lights).toBeNull()
  })
})

describe('the pane of a keyboard', () => {
  let bench: ReturnType<typeof daemon>

  beforeEach(() => {
    vi.useFakeTimers({ now: T0 })
    // happy-dom takes every Alt for AltGr.
    vi.spyOn(KeyboardEvent.prototype, 'getModifierState').mockReturnValue(false)
    localStorage.clear()
    bench = daemon()
    open(bench.opener)
  })

  afterEach(() => {
    close()
    vi.restoreAllMocks()
    vi.useRealTimers()
  })

  const slice = (document: AppState) => document['ps2Keyboard'] as Record<string, unknown>

  async function shows(change: (document: AppState) => void = () => undefined): Promise<void> {
    bench.greet(12, pcJson(change))
    await pass(50)
  }

  const pane = () => document.querySelector('[data-testid="pane-keyboard"]') as HTMLElement
  const box = () => pane().querySelector<HTMLElement>('[data-testid="capture-box"]') as HTMLElement
  const capturing = () => pane().querySelector('[data-testid="capture"]')?.getAttribute('data-capturing')
  const button = (label: string) => [...pane().querySelectorAll('button')].find((one) => one.textContent?.trim() === label) as HTMLButtonElement
  const field = <T extends HTMLElement>(id: string) => pane().querySelector<T>(`[data-testid="${id}"]`) as T
  const sent = <T extends ClientMessage['type']>(type: T) => bench.sent.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type)
  const keys = () => sent('command').filter(({ name }) => name === 'keys')
  const events = () => keys().map(({ args }) => (args['events'] as { key: string; down: boolean }[]).map(({ key, down }) => (down ? '+' : '-') + key).join(' '))

  function record(commandId: string, status: CommandRecord['status'], more: Partial<CommandRecord> = {}): object {
    return { type: 'command_status', commandId, device: 'keyboard', name: 'keys', actor: 'local', status, queuedAt: iso(0), deadlineAt: iso(30_000), ...more }
  }

  async function click(label: string): Promise<void> {
    button(label).click()
    await pass(1)
  }

  /** True if the page kept it from the browser. */
  function key(type: 'keydown' | 'keyup', code: string, more: KeyboardEventInit = {}): boolean {
    return !box().dispatchEvent(new KeyboardEvent(type, { code, key: code.replace(/^Key/, ''), bubbles: true, cancelable: true, ...more }))
  }

  async function capture(): Promise<void> {
    box().focus()
    key('keydown', 'Enter')
    key('keyup', 'Enter')
    await pass(1)
  }

  /** Takes the newest message of keys under this name. */
  async function take(commandId: string, status?: CommandRecord['status'], reason?: string): Promise<void> {
    bench.says({ type: 'ack', ok: true, id: keys().at(-1)?.id, commandId })
    await pass(1)
    if (status !== undefined) bench.says(record(commandId, status, reason === undefined ? {} : { reason }))
    await pass(1)
  }

  const fill = async (id: string, value: string) => {
    const input = field<HTMLInputElement>(id)
    input.value = value
    input.dispatchEvent(new Event(input.tagName === 'SELECT' ? 'change' : 'input'))
    await pass(1)
  }

  describe('the capture box', () => {
    beforeEach(() => shows())

    it('captures nothing before it is asked to, and shows the way out before and after', async () => {
      expect(key('keydown', 'KeyA')).toBe(false)
      expect(box().textContent).toContain('Ctrl + Alt + .')
      await capture()
      expect(capturing()).toBe('true')
      expect(box().textContent).toContain('Ctrl + Alt + .')
      // The Enter that began it is not the PC's.
      await pass(100)
      expect(keys()).toEqual([])
    })

    it('passes on every key, kept from the browser, without repeats', async () => {
      box().click()
      expect(['Tab', 'F5', 'Escape'].map((code) => key('keydown', code))).toEqual([true, true, true])
      key('keydown', 'F5', { repeat: true })
      expect(key('keyup', 'F5')).toBe(true)
      await pass(50)
      expect(events()).toEqual(['+Tab', '+F5 +Escape -F5'])
      expect(text('pressed')).toBe('TabEscape')
    })

    it('sends one message in 50 ms at most', async () => {
      await capture()
      for (let at = 0; at < 20; at += 1) {
        key(at % 2 === 0 ? 'keydown' : 'keyup', 'KeyA')
        await pass(10)
      }
      await pass(60)
      expect(keys().length).toBeLessThanOrEqual(5)
      expect(events().join(' ')).toBe(Array.from({ length: 10 }, () => '+KeyA -KeyA').join(' '))
    })

    it('leaves to the browser what a PC keyboard does not have, and says so', async () => {
      await capture()
      expect(key('keydown', 'AudioVolumeUp', { key: 'AudioVolumeUp' })).toBe(false)
      await pass(100)
      expect(keys()).toEqual([])
      expect(text('capture-problem')).toContain('AudioVolumeUp')
    })

    it('renews a message while a key of it is down, until its release was carried out', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1', 'succeeded')
      await pass(1_100)
      expect(sent('lease.renew').map(({ commandId }) => commandId)).toEqual(['k-1', 'k-1'])
      key('keyup', 'KeyA')
      await take('k-2')
      await pass(600)
      // Its turn has not come: let go now, it might never have been pressed.
      expect(sent('lease.end')).toEqual([])
      bench.says(record('k-2', 'succeeded'))
      await pass(1)
      const before = sent('lease.renew').length
      await pass(3_000)
      expect(sent('lease.renew')).toHaveLength(before)
      expect(sent('lease.end')).toEqual([])
      expect(text('capture-problem')).toBe('')
    })

    it('lets a key go whose release was not carried out, and says why', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1', 'succeeded')
      await pass(60)
      key('keyup', 'KeyA')
      await take('k-2', 'failed', 'the adapter does not answer')
      expect(sent('lease.end').map(({ commandId }) => commandId)).toEqual(['k-1'])
      expect(text('capture-problem')).toBe('Keys failed: the adapter does not answer')
    })

    it('lets a key go whose release was refused', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1', 'succeeded')
      await pass(60)
      key('keyup', 'KeyA')
      bench.says({ type: 'error', code: 'rate-limited', message: 'too many messages', id: keys().at(-1)?.id })
      await pass(1)
      expect(sent('lease.end').map(({ commandId }) => commandId)).toEqual(['k-1'])
      expect(text('capture-problem')).toBe('Keys were not sent: too many messages (rate-limited)')
    })

    it.each<[string, () => void]>([
      [
        'by its way out',
        () => {
          key('keydown', 'ControlLeft', { ctrlKey: true })
          key('keydown', 'AltLeft', { ctrlKey: true, altKey: true })
          key('keydown', 'Period', { ctrlKey: true, altKey: true })
        },
      ],
      ['when something else is clicked', () => box().blur()],
      ['when another window is used', () => window.dispatchEvent(new Event('blur'))],
      ['when the page goes', () => window.dispatchEvent(new Event('pagehide'))],
      [
        'when the tab is hidden',
        () => {
          const hidden = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden')
          document.dispatchEvent(new Event('visibilitychange'))
          hidden.mockRestore()
        },
      ],
    ])('is left %s, and lets go of what is down', async (_, happens) => {
      await capture()
      key('keydown', 'ShiftLeft')
      await take('k-1', 'succeeded')
      happens()
      await pass(1)
      expect(capturing()).toBe('false')
      expect(sent('lease.end').map(({ commandId }) => commandId)).toContain('k-1')
      const before = events().length
      expect(key('keyup', 'ShiftLeft')).toBe(false)
      await pass(3_000)
      expect(sent('lease.renew')).toEqual([])
      expect(events()).toHaveLength(before)
      expect(text('pressed')).toBe('')
    })

    it('never sends the key of the way out', async () => {
      await capture()
      key('keydown', 'Period', { ctrlKey: true, altKey: true })
      await pass(100)
      expect([capturing(), keys()]).toEqual(['false', []])
    })

    it('lets go as soon as the daemon has taken what was left before', async () => {
      await capture()
      key('keydown', 'KeyA')
      box().blur()
      expect(sent('lease.end')).toEqual([])
      await take('k-1')
      expect(sent('lease.end').map(({ commandId }) => commandId)).toEqual(['k-1'])
    })

    it('goes on with what was typed to its end when it is left, and lets go only of what is down', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1')
      await pass(60)
      key('keyup', 'KeyA')
      await take('k-2')
      box().blur()
      await pass(600)
      expect(sent('lease.end')).toEqual([])
      expect(sent('lease.renew').length).toBeGreaterThan(0)
    })

    it('says which key came up at the PC by itself', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1', 'succeeded')
      await pass(500)
      bench.says({ type: 'error', code: 'unknown-lease', message: 'not any more', id: (bench.sent.at(-1) as { id: string }).id })
      await pass(1)
      expect(text('capture-problem')).toContain('A came up at the PC')
      await pass(3_000)
      expect(sent('lease.renew')).toHaveLength(1)
    })

    it('ends with the socket, and with the device', async () => {
      await capture()
      key('keydown', 'KeyA')
      bench.drop()
      await pass(1)
      expect(capturing()).toBe('false')
      expect(text('capture-problem')).toContain('The connection broke')
      await pass(1_500)
      bench.greet(13, pcJson(undefined, 13))
      await pass(50)
      await capture()
      expect(capturing()).toBe('true')
      bench.says({ type: 'state.patch', fromVersion: 13, toVersion: 14, patch: [{ op: 'replace', path: '/ps2Keyboard/powerSense', value: 'off' }, { op: 'replace', path: '/version', value: 14 }] })
      await pass(1)
      expect(capturing()).toBe('false')
      expect(text('keyboard-blocked')).toContain('The PC is off')
    })

    it('lets go when the pane goes', async () => {
      await capture()
      key('keydown', 'KeyA')
      await take('k-1', 'succeeded')
      close()
      expect(sent('lease.end').map(({ commandId }) => commandId)).toEqual(['k-1'])
    })
  })

  it('types a text in a layout, with the time that it needs', async () => {
    await shows()
    expect(button('Type it').disabled).toBe(true)
    await fill('text', 'dir\n€𝄞')
    await fill('layout', 'de')
    expect(text('text-said')).toBe('6 characters')
    await click('Type it')
    expect(sent('command')).toMatchObject([{ name: 'type', args: { text: 'dir\n€𝄞', layout: 'de' }, deadlineMs: 31_800 }])
    expect(field<HTMLTextAreaElement>('text').value).toBe('dir\n€𝄞')
    bench.says({ type: 'ack', ok: true, id: sent('command')[0]?.id, commandId: 't-1' })
    bench.says(record('t-1', 'blocked', { name: 'type', reason: 'the layout de has no keys for "𝄞" at 6' }))
    await pass(1)
    expect(text('keyboard-asked')).toContain('has no keys for "𝄞" at 6')
  })

  it('keeps a secret out of sight, and no longer than until it was taken', async () => {
    await shows()
    await fill('text', 'hunter2')
    field<HTMLInputElement>('secret').click()
    await pass(1)
    expect(field('text').classList.contains('secret')).toBe(true)
    await click('Type it')
    expect(sent('command')).toMatchObject([{ args: { text: 'hunter2', secret: true } }])
    bench.says({ type: 'ack', ok: true, id: sent('command')[0]?.id, commandId: 't-1' })
    await pass(1)
    expect(field<HTMLTextAreaElement>('text').value).toBe('')
    expect(document.body.textContent).not.toContain('hunter2')
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['a key is held', { heldKeys: ['ShiftLeft'] }, 'A key is held: the text would come out wrong.'],
    ['Caps Lock is on', { lights: { num: false, caps: true, scroll: false } }, 'The PC has Caps Lock on: the text would come out wrong.'],
  ])('types no text while %s, and says so', async (_, change, why) => {
    await shows((document) => Object.assign(slice(document), change))
    await fill('text', 'x')
    expect(button('Type it').disabled).toBe(true)
    expect(text('text-said')).toBe(why)
  })

  it('types at most 4,000 characters at once', async () => {
    await shows()
    await fill('text', 'x'.repeat(4_001))
    expect(button('Type it').disabled).toBe(true)
    expect(text('text-said')).toContain('At most 4000')
  })

  it('runs a macro by its name, from a list where the driver says the names', async () => {
    await shows()
    expect(button('Run it').disabled).toBe(true)
    await fill('macro', ' boot ')
    await click('Run it')
    expect(sent('command')).toMatchObject([{ name: 'macro', args: { name: 'boot' } }])
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: pcJson((document) => Object.assign(slice(document), { macros: ['boot', 'list'] }), 13) })
    await pass(50)
    expect([...field('macro').querySelectorAll('option')].map((option) => option.textContent)).toEqual(['choose', 'boot', 'list'])
  })

  it('sends what a browser keeps for itself, and lets keys go', async () => {
    await shows((document) => Object.assign(slice(document), { heldKeys: ['ShiftLeft'] }))
    await click('Ctrl + Alt + Delete')
    await click('Let Left Shift go')
    await click('Let all keys go')
    await click('auto')
    expect(sent('command')).toMatchObject([
      { name: 'combo', args: { keys: ['ControlLeft', 'AltLeft', 'Delete'] } },
      { name: 'release', args: { key: 'ShiftLeft' } },
      { name: 'release-all', args: {} },
      { name: 'power', args: { mode: 'auto' } },
    ])
  })

  it('shows the queue with progress, counts what comes too fast for a line each, and gives up one or all', async () => {
    await shows((document) => Object.assign(slice(document), { busy: true, queueDepth: 3, currentOp: { id: 't-1', kind: 'type', status: 'running', createdAt: iso(0), requestedBy: 'wall', label: 'type 40 characters' } }))
    bench.says(record('t-1', 'acked', { name: 'type', actor: 'wall', ackedAt: iso(3), progress: { message: '10 of 40', share: 0.25 } }))
    bench.says(record('m-1', 'sent', { name: 'macro' }))
    for (const id of ['k-1', 'k-2']) bench.says(record(id, 'sent'))
    await pass(200)
    const rows = [...pane().querySelectorAll('[data-testid="queue-row"]')]
    expect(rows.map((row) => row.querySelector('p')?.textContent?.trim())).toEqual(['Type wall, under way', 'Macro local, waits'])
    expect(rows[0]?.querySelector('progress')?.value).toBe(0.25)
    expect(pane().querySelector('[data-testid="queue"]')?.textContent).toContain('2 × Keys')
    rows[1]?.querySelector('button')?.click()
    await pass(1)
    expect(sent('command.cancel')).toMatchObject([{ commandId: 'm-1' }])
    await click('Cancel all')
    expect(sent('command')).toMatchObject([{ name: 'cancel-all' }])
  })

  it('shows the PC’s lights in words, and whether it is on', async () => {
    await shows()
    const lamps = () => [...pane().querySelectorAll('[data-testid="lamp"]')].map((lamp) => `${lamp.getAttribute('data-lamp')}: ${lamp.querySelector('dd')?.textContent?.trim()}`)
    expect(lamps()).toEqual(['PC: on (front panel)', 'Num lock: on', 'Caps lock: off', 'Scroll lock: off'])
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: pcJson((document) => Object.assign(slice(document), { lights: null, powerSense: 'unknown', power: 'off' }), 13) })
    await pass(50)
    expect(lamps()).toEqual(['PC: off (pin)', 'Num lock: not set yet', 'Caps lock: not set yet', 'Scroll lock: not set yet'])
  })

  it('sends nothing while the device is not there, and says why', async () => {
    await shows((document) => Object.assign(document.devices['keyboard']?.ports['main'] ?? {}, { attached: false }))
    expect(text('keyboard-blocked')).toBe('The device is not there: port main not attached.')
    expect([...pane().querySelectorAll('button')].filter(({ disabled }) => !disabled)).toEqual([])
    await capture()
    expect(capturing()).toBe('false')
    expect(box().getAttribute('aria-disabled')).toBe('true')
  })
})
