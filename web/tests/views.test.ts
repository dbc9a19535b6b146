// @vitest-environment happy-dom
// The whole page over a recording: the client, the stores and the panes together, with time made by the test.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { exposeDebug } from '../src/debug'
import type { Opener } from '../src/socket/client'
import { parseReplay, replayAddress, replayOpener } from '../src/socket/replay'
import { socketAddress } from '../src/socket/websocket'
import { close, daemon, open, pass, text } from './support/page'
import { stateJson } from './support/state'

/** happy-dom draws nothing; what the chart was given is what counts. */
const drawn = vi.hoisted(() => ({ calls: [] as unknown[][] }))
vi.mock('uplot', () => ({
  default: class {
    width = 400
    height = 200
    bbox = { width: 400 }
    data: unknown[] = [[], []]
    setData(data: unknown[]) {
      this.data = data
      drawn.calls.push(data)
    }
    setSize() {}
    destroy() {}
  },
}))

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 5, 1) })
  localStorage.clear()
  drawn.calls.length = 0
})

afterEach(() => {
  close()
  vi.useRealTimers()
})

function recording(name: string): Opener {
  return replayOpener(parseReplay(readFileSync(join(import.meta.dirname, '../fixtures', `${name}.jsonl`), 'utf8')))
}

describe('the page over a recording', () => {
  it('shows the meter, follows it, and fills the chart from telemetry', async () => {
    open(recording('bench'))
    expect(text('waiting')).toContain('Waiting')
    await pass(500)
    expect(text('link-status')).toBe('Live')
    expect(text('phase')).toBe('streaming')
    expect(Number(text('watts'))).toBeGreaterThan(40)
    expect(text('frequencyHz')).toBe('50.0')
    const version = Number(text('state-version'))
    const watts = text('watts')
    await pass(5_000)
    expect(Number(text('state-version'))).toBe(version + 5)
    expect(text('watts')).not.toBe(watts)
    expect(document.querySelector('[data-testid="chart"]')?.getAttribute('data-samples')).toBe('60')
    expect(document.querySelectorAll('[data-testid="log-row"]').length).toBe(13)
  })

  it('draws at most once per animation frame', async () => {
    open(recording('bench'))
    await pass(1_000)
    const before = drawn.calls.length
    await pass(2_000)
    expect(drawn.calls.length - before).toBeLessThanOrEqual(2_000 / 16)
    expect(drawn.calls.length).toBeGreaterThan(before)
  })

  it('ticks the age of the last sample and never calls silence of its own stale', async () => {
    open(recording('bench'))
    await pass(39_500)
    expect(text('last-sample-age')).toMatch(/^0\.\d s$/)
    await pass(8_000)
    expect(text('last-sample-age')).toMatch(/^8\.\d s$/)
    expect(document.querySelector('[data-testid="pane-power-meter"]')?.getAttribute('data-stale')).toBe('false')
  })

  it('says what is wrong with a bench in trouble', async () => {
    open(recording('trouble'))
    await pass(500)
    const banners = [...document.querySelectorAll('[data-testid="device-banner"]')].map((banner) => banner.textContent)
    expect(banners).toHaveLength(2)
    expect(banners[0]).toContain('five strikes in ten minutes')
    expect(banners[1]).toContain('autobench:driver@0.9.0')
    expect(text('stale')).toContain('Stale since')
    const notices = [...document.querySelectorAll('[data-testid="pane-notice"]')].map((notice) => notice.textContent)
    expect(notices[0]).toContain('“front-panel”, which this page does not know')
    expect(notices[1]).toContain('no member “secondMeter”')
    expect(text('log-missed')).toContain('77 entries missed (#13 to #89)')
  })
})

describe('the page and a daemon', () => {
  it('marks old numbers stale when the link breaks, and live again when it is back', async () => {
    const bench = daemon()
    open(bench.opener)
    bench.greet()
    await pass(50)
    const pane = () => document.querySelector('[data-testid="pane-power-meter"]')?.getAttribute('data-stale')
    expect(pane()).toBe('false')
    expect(text('bench-status')).toBe('bench ready')
    bench.drop()
    await pass(50)
    expect(pane()).toBe('true')
    expect(text('link-status')).toBe('Offline')
    expect(text('bench-status')).toBe('bench was ready')
    expect(text('stale')).toContain('no connection to the daemon')
    expect(text('watts')).toBe('96.5')
    await pass(1_500)
    bench.greet(13)
    await pass(50)
    expect(pane()).toBe('false')
    expect(text('bench-status')).toBe('bench ready')
    expect(bench.sent.filter(({ type }) => type === 'subscribe')).toEqual([
      { type: 'subscribe', channel: 'telemetry', endpointIds: [1] },
      { type: 'subscribe', channel: 'telemetry', endpointIds: [1] },
    ])
  })

  it('asks for one snapshot when a patch does not fit the mirror, and shows that it does', async () => {
    const bench = daemon()
    open(bench.opener)
    bench.greet()
    for (const from of [12, 13]) {
      bench.says({ type: 'state.patch', fromVersion: from, toVersion: from + 1, patch: [{ op: 'remove', path: '/missing' }] })
    }
    await pass(50)
    expect(bench.sent.filter(({ type }) => type === 'state.resync')).toHaveLength(1)
    expect(text('link-status')).toBe('Resyncing')
    expect(text('state-version')).toBe('12')
    bench.says({ type: 'state.snapshot', bootId: 'b1', stateVersion: 15, data: stateJson(15) })
    await pass(50)
    expect(text('link-status')).toBe('Live')
    expect(text('state-version')).toBe('15')
  })

  it('shows an absent quantity as absent, not as zero', async () => {
    const bench = daemon()
    open(bench.opener)
    bench.greet()
    bench.says({
      type: 'state.patch',
      fromVersion: 12,
      toVersion: 13,
      patch: [
        { op: 'remove', path: '/powerMeter/lastSample/amps' },
        { op: 'replace', path: '/version', value: 13 },
      ],
    })
    await pass(50)
    expect(text('amps')).toBe('–')
    expect(text('volts')).toBe('120.4')
  })

  it('lends its document to the console, as a copy', async () => {
    const bench = daemon()
    open(bench.opener)
    bench.greet()
    bench.says({ type: 'telemetry', endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples: [[1767225600000, 96.5]], value: 96.5, timestamp: '' })
    const target = {} as Window
    exposeDebug(target)
    expect(target.autobench.version()).toBe(12)
    expect(target.autobench.bootId()).toBe('b1')
    expect(target.autobench.document()).toEqual(stateJson(12))
    expect(target.autobench.series(1)).toEqual({ endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples: [[1767225600000, 96.5]] })
    expect(target.autobench.series(9)).toBeNull()
    const copy = target.autobench.document() as { message: string }
    copy.message = 'spoiled'
    await pass(10)
    expect(target.autobench.document()).toEqual(stateJson(12))
  })
})

describe('addresses', () => {
  it('the socket is that of the page’s own host', () => {
    expect(socketAddress({ protocol: 'http:', host: '127.0.0.1:9898' })).toBe('ws://127.0.0.1:9898/ws')
    expect(socketAddress({ protocol: 'https:', host: 'bench.example' })).toBe('wss://bench.example/ws')
  })

  it('a recording is taken from the page’s own host only', () => {
    expect(replayAddress(new URL('http://a/?replay=fixtures/x.jsonl'))?.href).toBe('http://a/fixtures/x.jsonl')
    expect(replayAddress(new URL('http://a/?replay=http://b/x.jsonl'))).toBeNull()
    expect(replayAddress(new URL('http://a/'))).toBeNull()
  })

  it('a recording that is none is named by its line', () => {
    expect(() => parseReplay('{"type":"pong"}\n\nnot json')).toThrow('line 3')
    expect(parseReplay('{"type":"pong"}\n{"type":"pong","atMs":50}\n{"type":"pong"}').map(({ atMs }) => atMs)).toEqual([0, 50, 50])
  })
})
