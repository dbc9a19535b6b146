// @vitest-environment happy-dom
// Any device from its driver's manifest alone: what of a slice is shown, how, where, and what is said where there is nothing to show.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { decimalsOf, splitUnit } from '../src/components/format'
import { formatField, sliceFields } from '../src/panes/fields'
import { paneFor } from '../src/panes/registry'
import { resolve } from '../src/schema/resolve'
import type { JsonObject } from '../src/wire/types'
import { close, daemon, open, pass, text } from './support/page'
import { relayDocument, relayJson } from './support/relay'

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

describe('a schema', () => {
  const root: JsonObject = { $defs: { 'a/b': { type: 'integer', description: 'inner' }, loop: { $ref: '#/$defs/loop' } } }

  it('is read through its references, and what surrounds them wins', () => {
    expect(resolve({ $ref: '#/$defs/a~1b', description: 'outer' }, root)).toEqual({ schema: { type: 'integer', description: 'outer' }, nullable: false })
  })

  it('says whether null is allowed, however it is written', () => {
    expect(resolve({ type: ['string', 'null'] }, root)).toEqual({ schema: { type: 'string' }, nullable: true })
    expect(resolve({ anyOf: [{ $ref: '#/$defs/a~1b' }, { type: 'null' }] }, root)).toEqual({ schema: { type: 'integer', description: 'inner' }, nullable: true })
    expect(resolve({ oneOf: [{ const: null }, { type: 'boolean' }] }, root).nullable).toBe(true)
    expect(resolve({ type: ['string', 'number', 'null'] }, root)).toEqual({ schema: { type: ['string', 'number', 'null'] }, nullable: true })
  })

  it('that goes round in circles, leads nowhere or is none ends', () => {
    expect(resolve({ $ref: '#/$defs/loop' }, root).schema).toEqual({ $ref: '#/$defs/loop' })
    expect(resolve({ $ref: '#/$defs/none', title: 't' }, root).schema).toEqual({ title: 't' })
    expect(resolve({ $ref: 'http://elsewhere/' }, root).schema).toEqual({})
    expect(resolve(true, root)).toEqual({ schema: {}, nullable: false })
    expect(resolve({ $ref: '#/$defs/50%', title: 't' }, root).schema).toEqual({ title: 't' })
  })

  it('allows null by its list of values only as far as its type does', () => {
    expect(resolve({ enum: ['a', null] }, root).nullable).toBe(true)
    expect(resolve({ type: ['string', 'null'], enum: ['a', null] }, root).nullable).toBe(true)
    expect(resolve({ type: 'string', enum: ['a', null] }, root).nullable).toBe(false)
    expect(resolve({ type: ['string', 'null'], enum: ['a'] }, root).nullable).toBe(false)
  })
})

describe('the fields of a slice', () => {
  const { relay, plugins } = relayDocument() as unknown as { relay: JsonObject; plugins: Record<string, { manifest: { sliceSchema: JsonObject } }> }
  const schema = plugins['relay']?.manifest.sliceSchema ?? {}
  const series = { coilTemperature: { unit: '°C' } }
  const listed = (slice: JsonObject, of: JsonObject | null = schema) => sliceFields(of, slice, series).fields.map(({ path, group, label, unit }) => [path.join('/'), group, label, unit])

  it('have their places by the schema before anything was measured, and what it does not promise comes behind', () => {
    const before = listed({})
    expect(before).toEqual([
      ['attached', null, 'Attached', null],
      ['commands', null, 'Commands', null],
      ['coilTemperature', null, 'Coil temperature', '°C'],
      ['on', null, 'On', null],
      ['lastPulse/at', 'Last pulse', 'At', null],
      ['lastPulse/lengthMs', 'Last pulse', 'Length', 'ms'],
    ])
    const names = (rows: unknown[][]) => rows.map(([path]) => path)
    expect(names(listed(relay))).toEqual([...names(before).slice(0, 4), 'surprise', ...names(before).slice(4)])
    expect(names(listed({ ...relay, lastPulse: { at: '2026-01-01T00:00:00.000Z', lengthMs: 200 } }))).toEqual(names(listed(relay)))
  })

  it('are found without a schema too; phase and message are shown elsewhere', () => {
    expect(listed({ phase: 'ready', message: 'x', energyWh: 1, stats: { badRows: 2, deep: { more: { most: { end: 1 } } } } }, null)).toEqual([
      ['energyWh', null, 'Energy', 'Wh'],
      ['stats/badRows', 'Stats', 'Bad rows', null],
      ['stats/deep/more/most', 'Stats', 'Deep · More · Most', null],
    ])
  })

  it('are bounded, and say how many are left', () => {
    const wide = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`value${index}`, index]))
    expect(sliceFields(null, wide, {})).toMatchObject({ left: 40 })
    expect(sliceFields(null, wide, {}).fields).toHaveLength(60)
    // Promised and there is one value, not two.
    const promised = { properties: Object.fromEntries(Object.keys(wide).map((name) => [name, {}])) }
    expect(sliceFields(promised, wide, {})).toMatchObject({ left: 40, isWhole: true })
  })

  it('end where a schema promises in a few lines more than anybody can count', () => {
    const many: JsonObject = { properties: Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`v${index}`, { $ref: '#' }])) }
    const begin = performance.now()
    const { fields, isWhole } = sliceFields(many, { real: 1 }, {})
    expect([fields.length, isWhole]).toEqual([60, false])
    // It would be eight thousand million.
    expect(performance.now() - begin).toBeLessThan(2_000)
  })

  it('have units from their names, and only where the name has one', () => {
    expect(splitUnit('frequencyHz')).toEqual({ label: 'Frequency', stem: 'frequency', unit: 'Hz' })
    expect(splitUnit('memoryPeakBytes')).toMatchObject({ label: 'Memory peak', unit: 'B' })
    expect(splitUnit('badRows')).toMatchObject({ label: 'Bad rows', unit: null })
    expect(splitUnit('Hz')).toMatchObject({ label: 'Hz', unit: null })
    expect(splitUnit('ms')).toMatchObject({ label: 'ms', unit: null })
  })

  it.each([
    ['on', undefined, '–'],
    ['on', null, 'none'],
    ['on', false, 'no'],
    ['label', '', 'empty'],
    ['count', -3, '−3'],
    ['tags', ['a', 1], 'a, 1'],
    ['list', [{}], '1 element'],
    ['startedAt', 0, '0'],
    ['at', 1_767_225_600_000, '1767225600000'],
  ])('%s = %j is shown as "%s"', (name, value, shown) => expect(formatField({ path: [name] }, value, 0)).toBe(shown))

  it('that are times are shown as times of day, with the day if that is another', () => {
    const now = new Date()
    const clock = now.toTimeString().slice(0, 8)
    expect(formatField({ path: ['startedAt'] }, now.getTime(), 0)).toBe(clock)
    expect(formatField({ path: ['ts'] }, now.toISOString(), 0)).toBe(clock)
    expect(formatField({ path: ['startedAt'] }, Date.UTC(2020, 5, 15, 12), 0)).toMatch(/^2020-06-1[456] \d\d:00:00$/)
  })

  it('have as many decimals as they need, at most three', () => {
    expect([5, 96.5, 0.792, 0.123456, 1234.56, Number.NaN].map(decimalsOf)).toEqual([0, 1, 3, 3, 1, 0])
  })
})

describe('the choice of a pane', () => {
  const device = { hasDevice: true, type: 'power-meter' }

  it('is what the layout names, else what the type of the device has, else the generic one', () => {
    expect(paneFor('logs', device)).not.toBe(paneFor('device', device))
    expect(paneFor('my-meter', device)).toBe(paneFor('power-meter', device))
    expect(paneFor('relay', { hasDevice: true, type: 'relay' })).toBe(paneFor('device', device))
    expect(paneFor('relay', { hasDevice: true, type: 'logs' })).toBe(paneFor('device', device))
    expect(paneFor('relay', { hasDevice: false, type: null })).toBeUndefined()
  })
})

describe('the generic pane', () => {
  let bench: ReturnType<typeof daemon>

  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) })
    localStorage.clear()
    bench = daemon()
    open(bench.opener)
  })

  afterEach(() => {
    close()
    vi.useRealTimers()
  })

  const pane = () => document.querySelector('[data-testid="pane-device"]')
  const field = (path: string) => pane()?.querySelector(`[data-path="${path}"] dd`)?.textContent
  const all = (id: string) => [...(pane()?.querySelectorAll(`[data-testid="${id}"]`) ?? [])].map((element) => element.textContent?.trim())

  /** The relay's bench with some of the device changed. */
  function changed(change: (device: Record<string, unknown>, document: Record<string, unknown>) => void): JsonObject {
    const document = relayJson() as unknown as Record<string, Record<string, Record<string, unknown>>>
    change(document['devices']?.['relay'] ?? {}, document)
    return document as unknown as JsonObject
  }

  async function shows(document: JsonObject): Promise<void> {
    bench.greet(12, document)
    await pass(50)
  }

  it('shows a device that the layout does not name, behind those that it does', async () => {
    await shows(relayJson())
    const order = [...document.querySelectorAll('[data-testid^="pane-"]')].map((element) => element.getAttribute('data-testid'))
    expect(order).toEqual(['pane-power-meter', 'pane-logs', 'pane-state', 'pane-device', 'pane-commands'])
    expect(text('device-phase')).toBe('ready')
    expect(text('last-seen')).toMatch(/^0\.\d s ago$/)
    expect(field('attached')).toBe('yes')
    expect(field('on')).toBe('none')
    expect(field('lastPulse/lengthMs')).toBe('–')
    expect(field('surprise')).toBe('not in the schema')
    expect(field('coilTemperature')).toBeUndefined()
    expect(all('series-value')).toEqual(['31.25°C'])
    expect(all('port')).toEqual(['Port mainattached/dev/ttyACM0USB 2341:0043 R7'])
    expect(text('driver')).toBe('relay 1.0.0, generation 2')
    expect(all('reload')[0]).toContain('refused at')
    expect(all('reload')[0]).toContain('it wants autobench:driver@0.9.0')
    expect(all('health')[0]).toContain('Memory1.3 MiB')
    expect(pane()?.getAttribute('data-stale')).toBe('false')
  })

  it('says of a swap how long it took and what it carried over', async () => {
    await shows(
      changed((device) => {
        ;(device['driver'] as Record<string, unknown>)['lastReload'] = { at: '2026-01-01T00:00:00.000Z', verdict: 'swapped', pauseUs: 120, carriedBytes: 17 }
      }),
    )
    expect(all('reload')[0]).toContain('paused 120 µs, 17 bytes carried over')
  })

  it('shows a version that waits for consent, with what it wants, and the one that goes on', async () => {
    const document = relayJson()
    const plugin = (document['plugins'] as Record<string, Record<string, unknown>>)['relay'] ?? {}
    plugin['status'] = 'waiting-for-consent'
    plugin['reason'] = 'version 2.0.0 wants the port "aux", which no version before it did'
    plugin['waiting'] = {
      sha256: 'dd',
      version: '2.0.0',
      devices: ['relay'],
      wants: [
        { kind: 'port', value: 'aux', words: 'the port "aux"' },
        { kind: 'slice', value: 'meter', words: 'to read the slice "meter"' },
      ],
    }
    await shows(document)
    expect(text('driver')).toBe('relay 1.0.0, generation 2')
    expect(text('plugin-status')).toContain('waiting for consent: version 2.0.0')
    expect(text('wants')).toBe('the port "aux"to read the slice "meter"')
    const banner = [...window.document.querySelectorAll('[data-testid="device-banner"]')].map((element) => element.textContent).find((words) => words?.includes('consent'))
    expect(banner).toContain('on relay, where the version before it goes on')
    expect(banner).toContain('to read the slice "meter". Agree with: autobench plugin grant relay')
  })

  it('asks for all series of the page in one message', async () => {
    await shows(relayJson())
    const subscriptions = bench.sent.filter(({ type }) => type === 'subscribe')
    expect(subscriptions).toHaveLength(2)
    // One for the forms of the relay, and one for the charts of both devices.
    expect(subscriptions).toEqual(expect.arrayContaining([{ type: 'subscribe', channel: 'telemetry', endpointIds: [1, 9] }, { type: 'subscribe', channel: 'commands', id: 'commands' }]))
  })

  it('follows the series where the slice does not have its value', async () => {
    await shows(changed((_, document) => delete (document['relay'] as Record<string, unknown>)['coilTemperature']))
    expect(all('series-value')).toEqual(['–°C'])
    expect(pane()?.textContent).toContain('No sample yet')
    bench.says({ type: 'telemetry', endpointId: 9, endpoint: 'relay.coilTemperature', unit: '°C', samples: [[Date.now() - 1000, 30.5], [Date.now(), 31]] })
    await pass(400)
    expect(all('series-value')).toEqual(['31.0°C'])
    await pass(120_000)
    expect(pane()?.textContent).toContain('No samples in this window')
  })

  it.each([
    ['quarantined', { status: 'quarantined', reason: 'five strikes', staleSince: '2026-01-01T00:00:00.000Z' }, 'Quarantined: five strikes', 'true'],
    ['stale', { staleSince: '2026-01-01T00:00:00.000Z', reason: 'unplugged' }, 'unplugged', 'true'],
    ['starting', { status: 'starting' }, 'The driver is starting', 'false'],
    ['without its line', { ports: { main: { attached: false } } }, 'The device is not there: port main not attached', 'false'],
  ])('says so when the device is %s', async (_, change, said, stale) => {
    await shows(changed((device) => Object.assign(device, change)))
    expect(text('device-notice')).toContain(said)
    expect(pane()?.getAttribute('data-stale')).toBe(stale)
  })

  it('says so when the link is down, and keeps what it showed', async () => {
    await shows(relayJson())
    bench.drop()
    await pass(50)
    expect(text('device-notice')).toContain('no connection to the daemon')
    expect(field('attached')).toBe('yes')
    expect(pane()?.getAttribute('data-stale')).toBe('true')
  })

  it('says what the driver has to say, and keeps its line while that is nothing', async () => {
    await shows(changed((_, document) => Object.assign(document['relay'] as object, { message: 'the coil is warm' })))
    expect(text('device-notice')).toBe('the coil is warm')
    bench.says({ type: 'state.patch', fromVersion: 12, toVersion: 13, patch: [{ op: 'remove', path: '/relay/message' }, { op: 'replace', path: '/version', value: 13 }] })
    await pass(50)
    expect(text('device-notice')).toBe('')
  })

  it('says so when the slice is missing, the plugin’s file is gone, or a place names what is not there', async () => {
    await shows(
      changed((_, document) => {
        delete document['relay']
        delete (document['plugins'] as Record<string, unknown>)['relay']
        const layout = document['layout'] as { panes: unknown[]; rows: number }
        const place = { row: 0, col: 0, rowSpan: 1, colSpan: 1 }
        Object.assign(document['plugins'] as object, { spare: { file: 'spare.wasm', sha256: 'ee', status: 'unbound', devices: [] } })
        layout.panes = [
          { id: 'spare', pane: 'spare', ...place },
          { id: 'ghost', pane: 'device', device: 'ghost', ...place },
          { id: 'panel', pane: 'front-panel', device: 'atx', ...place },
          { id: 'board', pane: 'anything', device: 'relay', ...place },
        ]
      }),
    )
    const notices = [...document.querySelectorAll('[data-testid="pane-notice"]')].map((element) => element.textContent)
    expect(notices).toEqual([
      'The plugin “spare” is not bound, and this place of the layout names no device.',
      'The bench has no device “ghost”: no plugin is bound to it in plugins.toml.',
      'The layout asks for the pane “front-panel”, which this page does not know, and for the device “atx”, which the bench does not have.',
      'The state has no member “relay” yet: the driver has said nothing so far.',
    ])
    expect(text('plugin-status')).toContain('there is no file for “relay”')
    expect(document.querySelectorAll('[data-testid="unnamed"] [data-testid="pane-power-meter"]')).toHaveLength(1)
  })
})
