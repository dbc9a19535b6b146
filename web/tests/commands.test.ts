// @vitest-environment happy-dom
// Commands from the page: what goes over the socket, what is said of every stage and every refusal, and what is not sent at all.

import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { durationMs, outcomeOf, stagesOf } from '../src/panes/life'
import { createRest } from '../src/rest'
import type { Rest } from '../src/rest'
import { COMMANDS_CAPACITY, useCommands } from '../src/stores/commands'
import type { CommandRecord, CommandStage, JsonObject } from '../src/wire/types'
import { close, daemon, open, pass, text } from './support/page'
import { relayJson } from './support/relay'
import { stateJson } from './support/state'

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

const T0 = Date.UTC(2026, 0, 1)
const iso = (ms: number) => new Date(T0 + ms).toISOString()

function record(commandId: string, status: CommandStage, more: Partial<CommandRecord> = {}): CommandRecord {
  return { commandId, device: 'relay', name: 'on', actor: 'local', status, queuedAt: iso(0), deadlineAt: iso(30_000), ...more }
}

describe('the life of a command', () => {
  it('is told stage by stage', () => {
    const done = record('c', 'succeeded', { sentAt: iso(2), completedAt: iso(1_200), actualValue: true })
    expect(stagesOf(done).slice(1)).toEqual([
      { name: 'sent', time: '+2 ms' },
      { name: 'succeeded', time: '+1.2 s' },
    ])
    expect(durationMs(done, T0 + 9_000)).toBe(1_200)
    expect(durationMs(record('c', 'sent'), T0 + 9_000)).toBe(9_000)
    expect(durationMs(record('c', 'sent', { queuedAt: 'x' }), T0)).toBeNull()
    expect([done, record('c', 'failed', { reason: 'no' }), record('c', 'acked', { progress: { message: 'half', share: 0.5 } })].map(outcomeOf)).toEqual(['now true', 'no', 'half'])
  })
})

describe('the commands of the bench', () => {
  beforeEach(() => setActivePinia(createPinia()))
  const status = (id: string) => useCommands().records.get(id)?.status

  it('never go back, whatever comes late or twice', () => {
    const commands = useCommands()
    for (const stage of ['queued', 'acked', 'sent', 'acked', 'failed', 'succeeded', 'queued'] as const) commands.take(record('a', stage))
    expect(status('a')).toBe('failed')
    commands.adopt([record('a', 'sent'), record('b', 'sent')])
    commands.adopt([record('b', 'queued')])
    expect([status('a'), status('b')]).toEqual(['failed', 'sent'])
  })

  it('are bounded, the oldest go first', () => {
    const commands = useCommands()
    commands.adopt(Array.from({ length: COMMANDS_CAPACITY + 5 }, (_, at) => record(`c${at}`, 'succeeded', { queuedAt: iso(at) })))
    expect(commands.records.size).toBe(COMMANDS_CAPACITY)
    expect(status('c4')).toBeUndefined()
    commands.take(record('new', 'queued', { queuedAt: iso(60_000) }))
    expect([commands.records.size, status('c5'), commands.newestFirst()[0]?.commandId]).toEqual([COMMANDS_CAPACITY, undefined, 'new'])
  })

  it('that were under way when nobody listened are asked for one by one', async () => {
    const commands = useCommands()
    for (const id of ['kept', 'ended', 'lost', 'silent']) commands.take(record(id, 'sent'))
    const rest: Rest = {
      who: () => Promise.resolve(null),
      commands: () => Promise.resolve([record('kept', 'acked')]),
      command: (id) => Promise.resolve(id === 'ended' ? record(id, 'failed', { reason: 'unknown-outcome: the daemon ended' }) : id === 'lost' ? 'unknown' : null),
    }
    await commands.catchUp(rest)
    expect(['kept', 'ended', 'lost', 'silent'].map(status)).toEqual(['acked', 'failed', 'sent', 'sent'])
    expect([...commands.lost]).toEqual(['lost'])
  })
})

describe('questions over HTTP', () => {
  const rest = (status: number, body: string) => createRest(() => Promise.resolve(new Response(body, { status })))

  it('give what the daemon says, and null when it says nothing', async () => {
    expect(await rest(200, '{"actor":"wall","role":"viewer","authRequired":true}').who()).toEqual({ actor: 'wall', role: 'viewer' })
    expect(await rest(200, JSON.stringify({ commands: [record('a', 'queued'), { commandId: 7 }, null] })).commands()).toEqual([record('a', 'queued')])
    expect(await rest(200, JSON.stringify(record('a', 'sent'))).command('a')).toEqual(record('a', 'sent'))
    expect(await rest(404, '{}').command('a')).toBe('unknown')
    for (const broken of [rest(500, '{}'), rest(200, 'not json'), createRest(() => Promise.reject(new Error('away')))]) {
      expect([await broken.who(), await broken.commands(), await broken.command('a')]).toEqual([null, null, null])
    }
  })
})

describe('the page', () => {
  let bench: ReturnType<typeof daemon>
  let listed: CommandRecord[]

  beforeEach(() => {
    vi.useFakeTimers({ now: T0 })
    localStorage.clear()
    listed = []
    bench = daemon()
    const rest: Rest = {
      who: () => Promise.resolve({ actor: 'me', role: 'operator' }),
      commands: () => Promise.resolve(listed),
      command: () => Promise.resolve('unknown' as const),
    }
    open(bench.opener, rest)
  })

  afterEach(() => {
    close()
    vi.useRealTimers()
  })

  async function shows(document = relayJson()): Promise<void> {
    bench.greet(12, document)
    // The pane asks to follow when it is there.
    await pass(50)
    bench.says({ type: 'ack', ok: true, id: 'commands' })
    await pass(200)
  }

  const rows = () => [...document.querySelectorAll('[data-testid="command-row"]')]
  const cells = (row: Element | undefined) => [...(row?.querySelectorAll('summary > *') ?? [])].map((cell) => cell.textContent?.trim())
  const panes = () => document.querySelectorAll('[data-testid="pane-commands"]').length

  /** Opens the details of the newest command. */
  async function unfold(): Promise<void> {
    const details = rows()[0]?.querySelector('details')
    if (details != null) details.open = true
    details?.dispatchEvent(new Event('toggle'))
    await pass(1)
  }

  async function stage(next: CommandRecord): Promise<void> {
    bench.says({ type: 'command_status', ...next })
    await pass(200)
  }

  it('lists what was asked before it was there, and what is asked now, newest first', async () => {
    listed = [record('b', 'failed', { queuedAt: iso(-7_000), completedAt: iso(-6_500), actor: 'wall', reason: 'the contact is stuck' }), record('a', 'succeeded', { queuedAt: iso(-9_000), completedAt: iso(-8_960), actualValue: true })]
    await shows()
    expect(rows().map((row) => cells(row).slice(1))).toEqual([
      ['relay On', 'wall', 'failed', '500 ms', 'the contact is stuck'],
      ['relay On', 'local', 'succeeded', '40 ms', 'now true'],
    ])
    await stage(record('c', 'queued', { queuedAt: iso(-2_000), name: 'pulse' }))
    expect(cells(rows()[0]).slice(1, 4)).toEqual(['relay Pulse', 'local', 'queued'])
    const before = cells(rows()[0])[4]
    await pass(2_000)
    expect(before).toMatch(/^2\.\d s$/)
    expect(cells(rows()[0])[4]).toMatch(/^4\.\d s$/)
    await stage(record('c', 'succeeded', { queuedAt: iso(-2_000), name: 'pulse', completedAt: iso(-1_000) }))
    expect(cells(rows()[0]).slice(1, 5)).toEqual(['relay Pulse', 'local', 'succeeded', '1.0 s'])
    expect(text('commands-count')).toBe('3 of 3 shown')
  })

  it('keeps a thousand commands in a second from being a thousand drawings, and draws the newest', async () => {
    await shows()
    for (let at = 0; at < 1_200; at += 1) bench.says({ type: 'command_status', ...record(`c${at}`, 'queued', { queuedAt: iso(at) }) })
    await pass(200)
    expect(rows()).toHaveLength(200)
    expect(rows()[0]?.querySelector('time')?.dateTime).toBe(iso(1_199))
    expect(text('commands-count')).toBe('1000 of 1000 shown')
  })

  it('sorts no more often than it draws, however fast they come', async () => {
    await shows()
    const sort = vi.spyOn(Array.prototype, 'sort')
    for (let at = 0; at < 300; at += 1) {
      bench.says({ type: 'command_status', ...record(`c${at}`, 'queued', { queuedAt: iso(at) }) })
      await nextTick()
    }
    await pass(200)
    const sorted = sort.mock.contexts.filter((list) => (list as unknown[]).length > 1)
    sort.mockRestore()
    expect(sorted.length).toBeLessThan(20)
    expect(text('commands-count')).toBe('300 of 300 shown')
  })

  it('shows one device, or what is under way, when asked to', async () => {
    listed = [record('b', 'sent', { queuedAt: iso(2) }), record('a', 'failed', { device: 'fan' })]
    await shows()
    const pane = document.querySelector('[data-testid="pane-commands"]')
    ;[...(pane?.querySelectorAll('button') ?? [])].find((button) => button.textContent === 'Under way')?.click()
    await pass(1)
    expect(rows().map((row) => row.getAttribute('data-status'))).toEqual(['sent'])
    const select = pane?.querySelector('select') as HTMLSelectElement
    select.value = 'fan'
    select.dispatchEvent(new Event('change'))
    await pass(1)
    expect(rows()).toEqual([])
    expect(pane?.textContent).toContain('None is under way')
  })

  it('cancels from the list, and says what the next daemon does not know', async () => {
    listed = [record('b', 'sent')]
    await shows()
    expect(rows()[0]?.querySelector('button')).toBeNull()
    await unfold()
    const cancel = [...(rows()[0]?.querySelectorAll('button') ?? [])].find((button) => button.textContent === 'Cancel')
    cancel?.click()
    await pass(1)
    expect(bench.sent.filter((message) => message.type === 'command.cancel')).toMatchObject([{ commandId: 'b' }])
    bench.drop()
    await pass(1_500)
    listed = []
    await shows(relayJson(12))
    expect(rows()[0]?.textContent).toContain('does not know what became of it')
    expect(cells(rows()[0])[4]).toBe('–')
  })

  it('has one list where something can be asked, where the layout says if it says, and none elsewhere', async () => {
    await shows()
    expect(panes()).toBe(1)
    const named = JSON.parse(JSON.stringify(relayJson(13))) as { layout: { panes: object[] } }
    named.layout.panes.push({ id: 'asked', pane: 'commands', row: 1, col: 0, rowSpan: 1, colSpan: 1 })
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: named })
    await pass(50)
    expect(panes()).toBe(1)
    expect(document.querySelector('.grid [data-testid="pane-commands"]')).not.toBeNull()
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 14, data: stateJson(14) })
    await pass(50)
    expect(panes()).toBe(0)
    expect(bench.sent).toContainEqual({ type: 'unsubscribe', channel: 'commands', id: 'commands' })
  })
})

describe('the forms of a device', () => {
  let bench: ReturnType<typeof daemon>
  let role: string | null
  let listed: CommandRecord[]

  beforeEach(async () => {
    vi.useFakeTimers({ now: T0 })
    localStorage.clear()
    role = 'admin'
    listed = []
    bench = daemon()
    const rest: Rest = {
      who: () => Promise.resolve(role === null ? null : { actor: 'me', role }),
      commands: () => Promise.resolve(listed),
      command: () => Promise.resolve('unknown' as const),
    }
    open(bench.opener, rest)
    bench.greet(12, relayJson())
    await pass(50)
  })

  afterEach(() => {
    close()
    vi.useRealTimers()
  })

  const form = (name: string) => document.querySelector<HTMLFormElement>(`[data-command="${name}"]`) as HTMLFormElement
  const button = (name: string, label: string) => [...form(name).querySelectorAll('button')].find((one) => one.textContent?.trim() === label)
  const result = (name: string) => form(name).querySelector('[data-testid="command-result"]')?.textContent?.trim() ?? ''
  const commands = () => bench.sent.filter((message) => message.type === 'command')
  const input = (name: string, key: string) => form(name).querySelector<HTMLInputElement>(`[data-key="${key}"] input`) as HTMLInputElement

  async function submit(name: string): Promise<void> {
    form(name).dispatchEvent(new Event('submit', { cancelable: true }))
    await pass(1)
  }

  async function fill(name: string, key: string, value: string): Promise<void> {
    input(name, key).value = value
    input(name, key).dispatchEvent(new Event('input'))
    await nextTick()
  }

  /** Answers the newest command, and says its stages. */
  async function take(commandId: string, ...stages: CommandRecord[]): Promise<void> {
    const asked = commands().at(-1) as { id: string }
    bench.says({ type: 'ack', ok: true, id: asked.id, commandId })
    for (const stage of stages) bench.says({ type: 'command_status', ...stage })
    await pass(1)
  }

  it('send what was filled in, with a key of its own each time, and follow it to its end', async () => {
    await fill('pulse', '/ms', '200')
    await fill('pulse', '/label', 'x')
    await submit('pulse')
    expect(commands()).toMatchObject([{ type: 'command', device: 'relay', name: 'pulse', args: { ms: 200, label: 'x', loud: false } }])
    expect(button('pulse', 'Asking …')?.disabled).toBe(true)
    await take('c1', record('c1', 'acked', { name: 'pulse', sentAt: iso(2), ackedAt: iso(9), progress: { message: 'closed for 200 ms', share: 0.5 } }))
    expect(result('pulse')).toContain('acked')
    expect(result('pulse')).toContain('+9 ms')
    expect(result('pulse')).toContain('closed for 200 ms')
    expect(form('pulse').querySelector('progress')?.value).toBe(0.5)
    bench.says({ type: 'command_status', ...record('c1', 'succeeded', { name: 'pulse', completedAt: iso(210), actualValue: false }) })
    await pass(1)
    expect(result('pulse')).toContain('succeeded +210 ms')
    expect(result('pulse')).toContain('now false')
    expect(button('pulse', 'Cancel')).toBeUndefined()
    await submit('pulse')
    const keys = commands().map((message) => message.type === 'command' && message.idempotencyKey)
    expect(new Set(keys).size).toBe(2)
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('send nothing while something is wrong, say what, and take it back as it is mended', async () => {
    await submit('pulse')
    expect(commands()).toEqual([])
    expect(form('pulse').textContent).toContain('ms is needed')
    expect(document.activeElement).toBe(input('pulse', '/ms'))
    await fill('pulse', '/ms', '0')
    expect(form('pulse').textContent).toContain('ms has to be 1 to 60000')
    await fill('pulse', '/ms', '5')
    expect(form('pulse').querySelector('[aria-invalid="true"]')).toBeNull()
  })

  it('ask before a dangerous one is sent, and take no for an answer', async () => {
    expect(form('reset').textContent).toContain('dangerous')
    await submit('reset')
    expect(commands()).toEqual([])
    expect(document.activeElement?.textContent).toBe('Do not')
    button('reset', 'Do not')?.click()
    await pass(1)
    expect([commands(), button('reset', 'Reset now')]).toEqual([[], undefined])
    await submit('reset')
    form('reset').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))
    await pass(1)
    expect(button('reset', 'Reset now')).toBeUndefined()
    await submit('reset')
    button('reset', 'Reset now')?.click()
    await pass(1)
    expect(commands()).toMatchObject([{ name: 'reset', args: {} }])
  })

  it('show why the daemon refused, with its code, and count it as no fault of the page', async () => {
    await submit('on')
    bench.says({ type: 'error', code: 'busy', message: '64 commands are under way', id: (commands()[0] as { id: string }).id })
    await pass(1)
    expect(result('on')).toBe('64 commands are under way busy')
    expect(document.querySelector('.badge .chip')?.getAttribute('title')).not.toContain('fault')
  })

  it('cancel what is under way', async () => {
    await submit('on')
    await take('c2', record('c2', 'sent'))
    button('on', 'Cancel')?.click()
    await pass(1)
    const asked = bench.sent.find((message) => message.type === 'command.cancel')
    expect(asked).toMatchObject({ commandId: 'c2' })
    bench.says({ type: 'error', code: 'unknown-command-id', message: 'no such command', id: (asked as { id: string }).id })
    await pass(1)
    expect(result('on')).toContain('no such command (unknown-command-id)')
    bench.says({ type: 'command_status', ...record('c2', 'cancelled', { completedAt: iso(5) }) })
    await pass(1)
    expect(result('on')).toContain('cancelled')
  })

  it('say that nobody knows when the link breaks before the answer, and send again under the same key', async () => {
    await submit('on')
    bench.drop()
    await pass(1)
    expect(result('on')).toContain('it may have taken the command or not')
    expect(button('on', 'Send again: it is done once at most')?.disabled).toBe(true)
    await pass(1_500)
    bench.greet(13, relayJson(13))
    await pass(50)
    button('on', 'Send again: it is done once at most')?.click()
    await pass(1)
    const [first, second] = commands() as { id: string; idempotencyKey: string }[]
    expect(second?.idempotencyKey).toBe(first?.idempotencyKey)
    expect(second?.id).not.toBe(first?.id)
    await take('c3', record('c3', 'succeeded', { completedAt: iso(3) }))
    expect(result('on')).toContain('succeeded')
  })

  it('learn after a break what became of a command meanwhile', async () => {
    await submit('on')
    await take('c4', record('c4', 'sent'))
    bench.drop()
    await pass(1_500)
    listed = [record('c4', 'succeeded', { completedAt: iso(900) })]
    bench.greet(13, relayJson(13))
    bench.says({ type: 'ack', ok: true, id: 'commands' })
    await pass(50)
    expect(result('on')).toContain('succeeded')
    expect(bench.sent.filter((message) => message.type === 'subscribe' && message.channel === 'commands')).toHaveLength(2)
  })

  const patched = (path: string, value: unknown) =>
    bench.says({ type: 'state.patch', fromVersion: 12, toVersion: 13, patch: [{ op: 'replace', path, value }, { op: 'replace', path: '/version', value: 13 }] })

  it.each<[string, string, () => void]>([
    ['the driver is quarantined', 'The driver is quarantined: five strikes', () => patched('/devices/relay', { ...((relayJson()['devices'] as JsonObject)['relay'] as JsonObject), status: 'quarantined', reason: 'five strikes' })],
    ['the line is away', 'port main not attached', () => patched('/devices/relay/ports/main/attached', false)],
    ['the link is down', 'no connection', () => bench.drop()],
  ])('send nothing while %s, and say so', async (_, why, change) => {
    expect(text('commands-blocked')).toBe('')
    change()
    await pass(50)
    expect(text('commands-blocked')).toContain(why)
    expect([...document.querySelectorAll<HTMLButtonElement>('[data-command] .run')].map((one) => one.disabled)).toEqual([true, true, true])
    await submit('on')
    expect(commands()).toEqual([])
  })

  it('let what is under way be given up while the device is not ready', async () => {
    await submit('on')
    await take('c5', record('c5', 'sent'))
    patched('/devices/relay/ports/main/attached', false)
    await pass(50)
    expect(text('commands-blocked')).toContain('not attached')
    expect(button('on', 'Cancel')?.disabled).toBe(false)
    button('on', 'Cancel')?.click()
    await pass(1)
    expect(bench.sent.filter((message) => message.type === 'command.cancel')).toMatchObject([{ commandId: 'c5' }])
    bench.drop()
    await pass(50)
    expect(button('on', 'Cancel')?.disabled).toBe(true)
  })

  it('send nothing for a viewer, who may become an operator with the next connection', async () => {
    role = 'viewer'
    bench.drop()
    await pass(1_500)
    bench.greet(13, relayJson(13))
    await pass(50)
    expect(text('commands-blocked')).toContain('You are a viewer here')
    role = 'operator'
    bench.drop()
    await pass(3_000)
    bench.greet(14, relayJson(14))
    await pass(50)
    expect(text('commands-blocked')).toBe('')
  })

  it('leave it to the daemon when the role is not known', async () => {
    role = null
    bench.drop()
    await pass(1_500)
    bench.greet(13, relayJson(13))
    await pass(50)
    expect(text('commands-blocked')).toBe('')
  })

  describe('that hold', () => {
    const text = (name: string) => form(name).querySelector('[data-testid="hold-said"]')?.textContent ?? ''

    async function point(name: string, type: string): Promise<void> {
      button(name, 'Squeeze while pressed')?.dispatchEvent(new PointerEvent(type, { button: 0, isPrimary: true, pointerId: 1, bubbles: true }))
      await pass(1)
    }

    async function given(dangerous: boolean): Promise<void> {
      const document = relayJson(13) as unknown as { plugins: { relay: { manifest: { commands: object[] } } } }
      const argumentsSchema = { type: 'object', required: ['ms'], properties: { ms: { type: 'integer', minimum: 1 } } }
      document.plugins.relay.manifest.commands.push({ name: 'squeeze', description: 'Squeezes.', argumentsSchema, dangerous, hold: true })
      bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 13, data: document })
      await pass(50)
    }

    it('hold while their button is pressed, and are not sent by an Enter in a field', async () => {
      await given(false)
      await point('squeeze', 'pointerdown')
      expect(form('squeeze').textContent).toContain('ms is needed')
      await fill('squeeze', '/ms', '5')
      await submit('squeeze')
      expect(commands()).toEqual([])
      await point('squeeze', 'pointerdown')
      expect(commands()).toMatchObject([{ name: 'squeeze', args: { ms: 5 } }])
      await take('s1')
      expect(text('squeeze')).toBe('Held')
      await pass(1_100)
      await point('squeeze', 'pointerup')
      const leases = bench.sent.flatMap((message) => (message.type === 'lease.renew' || message.type === 'lease.end' ? [message.type] : []))
      expect(leases).toEqual(['lease.renew', 'lease.renew', 'lease.end'])
    })

    it('are confirmed by what one does anyway, where they are dangerous', async () => {
      await given(true)
      await fill('squeeze', '/ms', '5')
      await submit('squeeze')
      expect(commands()).toEqual([])
      expect(form('squeeze').textContent).toContain('This can harm what the bench runs.')
      await point('squeeze', 'pointerdown')
      expect(commands()).toMatchObject([{ name: 'squeeze', args: { ms: 5 } }])
    })
  })
})
