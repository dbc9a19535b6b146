// @vitest-environment happy-dom
// The log store: bounds, filters, pausing, what is kept over a reload.

import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, describe, expect, it } from 'vitest'
import { nextTick } from 'vue'
import { LOG_PREFERENCES_KEY, useLogs } from '../src/stores/logs'
import type { Level, LogEntry, SeqRange } from '../src/wire/types'

beforeEach(() => {
  localStorage.clear()
  setActivePinia(createPinia())
})

function entry(seq: number, over: Partial<LogEntry> = {}): LogEntry {
  return { seq, ts: 1767225600000 + seq, channel: 'device', emoji: '🔌', level: 'info', message: `entry ${seq}`, color: 'cyan', ...over }
}

function append(logs: ReturnType<typeof useLogs>, entries: readonly LogEntry[], missed: SeqRange | null = null): void {
  const fromSeq = entries[0]?.seq ?? 1
  logs.take({ type: 'logs.append', fromSeq, toSeq: entries.at(-1)?.seq ?? fromSeq - 1, entries }, missed)
}

function shownSeqs(logs: ReturnType<typeof useLogs>): number[] {
  return logs.rows.flatMap((row) => (row.kind === 'entry' ? [row.entry.seq] : []))
}

describe('the log store', () => {
  it('keeps the newest entries up to the daemon’s capacity, and no more when that shrinks', () => {
    const logs = useLogs()
    logs.adoptServerConfig({ capacity: 100, minLevel: 'debug', allowedChannels: [] })
    for (let seq = 1; seq <= 250; seq += 1) append(logs, [entry(seq)])
    expect(logs.entries.length).toBe(100)
    expect(logs.entries[0]?.seq).toBe(151)
    logs.adoptServerConfig({ capacity: 10, minLevel: 'debug', allowedChannels: [] })
    expect(logs.entries.map(({ seq }) => seq)).toEqual([241, 242, 243, 244, 245, 246, 247, 248, 249, 250])
  })

  it('takes repeated entries once and late ones in their place', () => {
    const logs = useLogs()
    append(logs, [entry(1), entry(2), entry(5)])
    append(logs, [entry(2), entry(3), entry(4), entry(5), entry(6)])
    expect(logs.entries.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('shows newest first by default, oldest first on demand', () => {
    const logs = useLogs()
    append(logs, [entry(1), entry(2), entry(3)])
    expect(shownSeqs(logs)).toEqual([3, 2, 1])
    logs.prefer({ sort: 'oldest-first' })
    expect(shownSeqs(logs)).toEqual([1, 2, 3])
  })

  it('filters by level, and never below what the daemon sends', () => {
    const logs = useLogs()
    const levels: Level[] = ['debug', 'info', 'warn', 'error', 'fatal']
    append(logs, levels.map((level, i) => entry(i + 1, { level })))
    logs.prefer({ minLevel: 'warn' })
    expect(shownSeqs(logs)).toEqual([5, 4, 3])
    logs.prefer({ minLevel: 'debug' })
    logs.adoptServerConfig({ capacity: 500, minLevel: 'error', allowedChannels: [] })
    expect(logs.minLevel).toBe('error')
    expect(shownSeqs(logs)).toEqual([5, 4])
  })

  it('filters by channel: all, none, and one at a time', () => {
    const logs = useLogs()
    logs.adoptServerConfig({ capacity: 500, minLevel: 'debug', allowedChannels: ['app', 'sidecar'] })
    append(logs, [entry(1, { channel: 'app' }), entry(2), entry(3)])
    expect(logs.channels.map(({ name, count }) => [name, count])).toEqual([['app', 1], ['device', 2], ['sidecar', 0]])
    logs.toggleChannel('device')
    expect(logs.preferences.channels).toEqual(['app', 'sidecar'])
    expect(shownSeqs(logs)).toEqual([1])
    logs.toggleChannel('device')
    expect(logs.preferences.channels).toBeNull()
    logs.prefer({ channels: [] })
    expect(shownSeqs(logs)).toEqual([])
    logs.toggleChannel('app')
    expect(shownSeqs(logs)).toEqual([1])
  })

  it('searches message, channel, tag and module without regard to case', () => {
    const logs = useLogs()
    append(logs, [entry(1, { message: 'Port OPENED' }), entry(2, { tag: 'meter' }), entry(3, { module: 'serial::reader' }), entry(4)])
    for (const [search, seqs] of [['opened', [1]], ['METER', [2]], ['serial', [3]], ['device', [4, 3, 2, 1]], ['  ', [4, 3, 2, 1]]] as const) {
      logs.prefer({ search })
      expect(shownSeqs(logs), search).toEqual(seqs)
    }
  })

  it('holds the view while paused, counts what comes, and shows it on resume', () => {
    const logs = useLogs()
    append(logs, [entry(1)])
    logs.setPaused(true)
    append(logs, [entry(2), entry(3)])
    expect(shownSeqs(logs)).toEqual([1])
    expect(logs.held).toBe(2)
    logs.setPaused(false)
    expect(shownSeqs(logs)).toEqual([3, 2, 1])
    expect(logs.held).toBe(0)
  })

  it('a paused view survives the eviction of what it shows', () => {
    const logs = useLogs()
    logs.adoptServerConfig({ capacity: 2, minLevel: 'debug', allowedChannels: [] })
    append(logs, [entry(1), entry(2)])
    logs.setPaused(true)
    append(logs, [entry(3), entry(4)])
    expect(shownSeqs(logs)).toEqual([2, 1])
  })

  it('clears the view without forgetting where the log stands', () => {
    const logs = useLogs()
    append(logs, [entry(1), entry(2)])
    logs.clear()
    expect(shownSeqs(logs)).toEqual([])
    append(logs, [entry(3)])
    expect(shownSeqs(logs)).toEqual([3])
  })

  it('shows lost ranges between the entries around them, joined', () => {
    const logs = useLogs()
    append(logs, [entry(1)])
    append(logs, [entry(10)], { fromSeq: 2, toSeq: 5 })
    append(logs, [entry(11)], { fromSeq: 6, toSeq: 9 })
    logs.prefer({ sort: 'oldest-first' })
    expect(logs.rows.map((row) => (row.kind === 'entry' ? row.entry.seq : `${row.range.fromSeq}-${row.range.toSeq}`))).toEqual([1, '2-9', 10, 11])
  })

  it('starts anew with another run of the daemon', () => {
    const logs = useLogs()
    append(logs, [entry(50)], { fromSeq: 1, toSeq: 49 })
    logs.clear()
    logs.restart()
    append(logs, [entry(1)])
    expect(shownSeqs(logs)).toEqual([1])
    expect(logs.missed).toEqual([])
  })

  it('exports what the filters let through', () => {
    const logs = useLogs()
    append(logs, [entry(1), entry(2, { channel: 'app' })])
    logs.prefer({ channels: ['app'] })
    expect(JSON.parse(logs.exportJson())).toEqual([entry(2, { channel: 'app' })])
  })

  it('keeps the preferences over a reload, and reads what an older page wrote field by field', async () => {
    const logs = useLogs()
    logs.prefer({ search: 'port', minLevel: 'warn', channels: ['app'] })
    await nextTick()
    setActivePinia(createPinia())
    expect(useLogs().preferences).toMatchObject({ search: 'port', minLevel: 'warn', channels: ['app'], sort: 'newest-first' })
    localStorage.setItem(LOG_PREFERENCES_KEY, '{"minLevel":"loud","sort":7,"channels":["app",3],"search":"x"}')
    setActivePinia(createPinia())
    expect(useLogs().preferences).toEqual({ channels: ['app'], minLevel: 'debug', search: 'x', sort: 'newest-first', paused: false, autoscroll: true })
    localStorage.setItem(LOG_PREFERENCES_KEY, 'not json')
    setActivePinia(createPinia())
    expect(useLogs().preferences.search).toBe('')
  })

  it('10,000 entries in bursts stay bounded', () => {
    const logs = useLogs()
    for (let seq = 1; seq <= 10_000; seq += 50) append(logs, Array.from({ length: 50 }, (_, i) => entry(seq + i)))
    expect(logs.entries.length).toBe(500)
    expect(logs.entries.at(-1)?.seq).toBe(10_000)
  })
})
