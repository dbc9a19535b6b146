// What the panes print and conclude: ages, numbers, names, staleness, slices, the state tree.

import { describe, expect, it } from 'vitest'
import { formatAge, formatClock, formatName, formatNumber } from '../src/components/format'
import { staleness } from '../src/panes/staleness'
import type { StalenessInput } from '../src/panes/staleness'
import { branchPaths, describeValue, treeRows } from '../src/panes/tree'
import { readDevice, readDevices, readRefusedPlugins } from '../src/wire/devices'
import { LOGS_CAPACITY_MAX, readLayout, readLogsConfig, readPowerMeter, readWsConfig } from '../src/wire/slices'
import { DEFAULT_WS_CONFIG } from '../src/wire/slices'
import { stateDocument, stateJson } from './support/state'

describe('formatAge', () => {
  it.each([
    [-500, '0.0 s'],
    [0, '0.0 s'],
    [449, '0.4 s'],
    [9_949, '9.9 s'],
    [9_950, '9 s'],
    [10_000, '10 s'],
    [59_999, '59 s'],
    [60_000, '1 min 00 s'],
    [3_599_000, '59 min 59 s'],
    [3_600_000, '1 h 00 min'],
    [90_000_000, '1 d 01 h'],
  ])('%d ms is "%s"', (ageMs, text) => expect(formatAge(ageMs)).toBe(text))
})

describe('formatNumber', () => {
  it.each([
    [96.5, 1, '96.5'],
    [0.79249, 3, '0.792'],
    [-3.21, 1, '−3.2'],
    [-0.04, 1, '0.0'],
    [0, 1, '0.0'],
    [null, 1, '–'],
    [undefined, 1, '–'],
    [Number.NaN, 1, '–'],
  ])('%s with %d decimals is "%s"', (value, decimals, text) => expect(formatNumber(value, decimals)).toBe(text))
})

describe('other words', () => {
  it('name things as people write them', () => {
    expect(formatName('frontPanel')).toBe('Front panel')
    expect(formatName('power-meter')).toBe('Power meter')
    expect(formatClock(Number.NaN)).toBe('–')
  })
})

describe('staleness', () => {
  const device = readDevice(stateJson()['devices'], 'meter')
  const live: StalenessInput = { link: 'live', linkSinceMs: 5, device, phase: 'streaming' }

  it('is none while the link lives, the device is not marked and the meter streams', () => {
    expect(staleness(live)).toBeNull()
    expect(staleness({ ...live, device: undefined })).toBeNull()
  })

  it('has each of its reasons, the link first', () => {
    const marked = device && { ...device, staleSince: '2026-01-01T00:00:00.000Z', reason: 'unplugged' }
    expect(staleness({ ...live, device: marked })).toEqual({ sinceMs: Date.UTC(2026, 0, 1), why: 'unplugged' })
    expect(staleness({ ...live, phase: 'connecting' })).toEqual({ sinceMs: null, why: 'meter connecting' })
    expect(staleness({ ...live, link: 'waiting', device: marked })).toEqual({ sinceMs: 5, why: 'no connection to the daemon' })
  })
})

describe('looks at the state', () => {
  const document = stateJson()

  it('read what the daemon writes', () => {
    const { layout, serverConfig } = stateDocument()
    expect(readLayout(document['layout'])).toEqual({
      ...layout,
      panes: layout.panes.map((pane) => ({ slice: null, device: null, ...pane })),
    })
    expect(readWsConfig(document)).toEqual(serverConfig.ws)
    expect(readLogsConfig(document)).toEqual({ capacity: 250, minLevel: 'info', allowedChannels: ['app', 'device'] })
    expect(readDevice(document['devices'], 'meter')).toEqual({
      id: 'meter',
      type: 'power-meter',
      slice: 'powerMeter',
      status: 'running',
      phase: 'streaming',
      reason: null,
      plugin: 'power-meter',
      lastSeen: '2026-01-01T00:00:00.000Z',
      staleSince: null,
      driverVersion: '0.1.0',
      generation: 3,
      health: {},
      lastReload: { at: '2026-01-01T00:00:00.000Z', verdict: 'swapped', reason: null, pauseUs: 120, carriedBytes: 17 },
      ports: [{ name: 'main', path: '/dev/ttyUSB0', attached: true, identity: null }],
      series: { watts: { endpointId: 1, unit: 'W' }, energy: { endpointId: 6, unit: 'Wh' } },
    })
    expect(readRefusedPlugins(document['plugins'])).toEqual([{ name: 'broken', reason: 'not a component' }])
    expect(readPowerMeter(document['powerMeter'])).toEqual({
      phase: 'streaming',
      message: null,
      totalSamples: 4,
      badRows: 1,
      lastSample: { ts: '2026-01-01T00:00:00.000Z', watts: 96.5, volts: 120.4, amps: 0.792 },
    })
  })

  it('say undefined for what is not there or not that', () => {
    expect(readLayout(undefined)).toBeUndefined()
    expect(readLayout({ rows: 1, cols: 1 })).toBeUndefined()
    expect(readPowerMeter({ phase: 7 })).toBeUndefined()
    expect(readPowerMeter(null)).toBeUndefined()
    expect(readDevice(document['devices'], 'toString')).toBeUndefined()
    expect(readDevice(document['devices'], null)).toBeUndefined()
    expect(readDevices(undefined)).toEqual([])
    expect(readPowerMeter({ phase: 'connecting', lastSample: null })?.lastSample).toBeNull()
  })

  it('never take a setting that would stop the page', () => {
    expect(readWsConfig(null)).toEqual(DEFAULT_WS_CONFIG)
    const wild = { serverConfig: { ws: { reconnectMinMs: 0, reconnectMaxMs: -5, reconnectFactor: 0, reconnectJitter: 9 }, logs: { capacity: 1e9 } } }
    expect(readWsConfig(wild)).toMatchObject({ reconnectMinMs: 10, reconnectMaxMs: 10, reconnectFactor: 1, reconnectJitter: 1 })
    expect(readLogsConfig(wild).capacity).toBe(LOGS_CAPACITY_MAX)
  })
})

describe('the state tree', () => {
  const document = { version: 3, meta: { bootId: 'b', status: 'ready' }, list: [{ a: 1 }, 'two'], 'odd/key~': { x: null }, empty: {} }
  const rows = (expanded: string[], query = '', limit = 100) =>
    treeRows(document, { expanded: new Set(expanded), query, limit }).rows.map((row) => `${'  '.repeat(row.level - 1)}${row.key}${row.branch ? (row.open ? ' -' : ' +') : ''}`)

  it('shows the top level, and more where it is open', () => {
    expect(rows([])).toEqual(['version', 'meta +', 'list +', 'odd/key~ +', 'empty'])
    expect(rows(['/list', '/odd~1key~0'])).toEqual(['version', 'meta +', 'list -', '  0 +', '  1', 'odd/key~ -', '  x', 'empty'])
  })

  it('a search shows what matches, with its ancestors', () => {
    expect(rows([], 'ready')).toEqual(['meta -', '  status'])
    expect(rows([], 'TWO')).toEqual(['list -', '  1'])
    expect(rows([], 'meta')).toEqual(['meta +'])
    expect(rows(['/meta'], 'meta')).toEqual(['meta -', '  bootId', '  status'])
    expect(rows([], '/list/0')).toEqual(['list -', '  0 -', '    a'])
    expect(rows([], 'nothing')).toEqual([])
  })

  it('stops at its limit and says so', () => {
    expect(treeRows(document, { expanded: new Set(), query: '', limit: 3 })).toMatchObject({ truncated: true })
    expect(rows([], '', 3)).toHaveLength(3)
    expect(treeRows(document, { expanded: new Set(), query: '', limit: 5 }).truncated).toBe(false)
  })

  it('expands everything that can be', () => {
    expect([...branchPaths(document)]).toEqual(['/meta', '/list', '/list/0', '/odd~1key~0'])
  })

  it('says each value in a line', () => {
    expect([null, 'a', 1, {}, [], [1], { a: 1, b: 2 }].map(describeValue)).toEqual(['null', '"a"', '1', '{ }', '[ ]', '1 element', '2 members'])
  })
})
