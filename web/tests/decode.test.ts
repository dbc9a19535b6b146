// Decoding: every frame of the protocol is taken, and what is not one is named.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { decodeFrame, describeFault } from '../src/wire/decode'
import type * as Wire from '../src/wire/generated/wire'
import type { ClientMessage, ServerFrame } from '../src/wire/types'
import { stateDocument } from './support/state'

const limits: Wire.Limits = {
  clients: 100,
  subscriptions: 50,
  messagesPerS: 10,
  messageBurst: 20,
  messageBytes: 65_536,
  heartbeatIntervalMs: 30_000,
  heartbeatTimeoutMs: 60_000,
}

const entry: Wire.LogEntry = {
  seq: 20,
  ts: 1767225600000,
  channel: 'device',
  emoji: '🔌',
  level: 'info',
  message: 'streaming',
  color: 'green',
  tag: 'meter',
}

/** One of each, in the daemon's types. */
const FRAMES: readonly Wire.ServerMessage[] = [
  {
    type: 'welcome',
    protocol: 'autobench.v1',
    serverTime: '2026-01-01T00:00:00.000Z',
    serverVersion: '0.1.0',
    bootId: '7f3a91c04be25d68',
    clientId: 'c-1',
    limits,
    features: ['resume'],
    resumed: false,
  },
  { type: 'state.snapshot', bootId: '7f3a91c04be25d68', stateVersion: 12, data: stateDocument(12) },
  {
    type: 'state.patch',
    fromVersion: 12,
    toVersion: 14,
    patch: [
      { op: 'replace', path: '/powerMeter/lastSample/watts', value: 96.5 },
      { op: 'add', path: '/powerMeter/message', value: null },
      { op: 'remove', path: '/devices/meter/staleSince' },
      { op: 'replace', path: '/version', value: 14 },
    ],
  },
  { type: 'logs.history', fromSeq: 1, toSeq: 20, entries: [entry] },
  { type: 'logs.history', fromSeq: 1, toSeq: 0, entries: [] },
  { type: 'logs.append', fromSeq: 21, toSeq: 22, missed: { fromSeq: 5, toSeq: 20 }, entries: [{ ...entry, module: 'serial' }] },
  {
    type: 'telemetry',
    endpointId: 1,
    endpoint: 'meter.watts',
    unit: 'W',
    samples: [
      [1767225600000, 96.5],
      [1767225601000, 97],
    ],
    value: 97,
    timestamp: '2026-01-01T00:00:01.000Z',
  },
  {
    type: 'event',
    timestamp: 1767225600000,
    event: { _id: 'e-1', process_id: '7f3a', sender: 'meter', message: 'swapped', level: 'info', context: { kind: 'reload' } },
  },
  { type: 'alarm', alarmId: 1, severity: 'warning', message: 'hot', timestamp: '2026-01-01T00:00:00.000Z', state: 'raised' },
  { type: 'pong', ts: 1767225600000 },
  { type: 'ack', ok: true, id: 'a' },
  { type: 'error', code: 'unknown-type', message: 'no such type', id: 7 },
]

function decoded(raw: unknown): ServerFrame {
  const result = decodeFrame(JSON.stringify(raw))
  if (!result.ok) throw new Error(describeFault(result.fault))
  return result.frame
}

function fault(raw: unknown): string {
  const result = decodeFrame(typeof raw === 'string' ? raw : JSON.stringify(raw))
  return result.ok ? 'taken' : describeFault(result.fault)
}

describe('decodeFrame', () => {
  it.each(FRAMES.map((frame) => [frame.type, frame] as const))('takes %s as the daemon writes it', (type, frame) => {
    expect(decoded(frame).type).toBe(type)
  })

  it('takes the fields of a frame as they are', () => {
    expect(decoded(FRAMES[2])).toEqual(FRAMES[2])
    expect(decoded(FRAMES[5])).toEqual(FRAMES[5])
    expect(decoded(FRAMES[11])).toEqual(FRAMES[11])
    expect(decoded(FRAMES[6])).toMatchObject({ endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples: [[1767225600000, 96.5], [1767225601000, 97]] })
  })

  it('tolerates fields it does not know', () => {
    expect(decoded({ ...FRAMES[9], weather: 'fine' })).toEqual({ type: 'pong', ts: 1767225600000 })
  })

  it('takes a telemetry frame without a batch as one sample', () => {
    const frame = { type: 'telemetry', endpointId: 59, value: 180.5, timestamp: '2025-12-27T06:00:00Z' }
    expect(decoded(frame)).toMatchObject({ samples: [[Date.UTC(2025, 11, 27, 6), 180.5]] })
  })

  it.each([
    ['{"type":', 'a message that is not JSON'],
    ['[1]', 'a message that is not a JSON object'],
    ['{"type":"weather"}', 'a message of unknown type "weather"'],
    ['{"no":"type"}', 'a message of unknown type ""'],
    [{ ...FRAMES[0], bootId: 7 }, 'a welcome message with a bad bootId'],
    [{ ...FRAMES[1], stateVersion: 11 }, 'a state.snapshot message with a bad data.version'],
    [{ ...FRAMES[1], data: [] }, 'a state.snapshot message with a bad data'],
    [{ type: 'state.patch', fromVersion: 2, toVersion: 1, patch: [] }, 'a state.patch message with a bad toVersion'],
    [{ type: 'state.patch', fromVersion: 1, toVersion: 2, patch: [{ op: 'add', path: '/a' }] }, 'a state.patch message with a bad patch[0].value'],
    [{ type: 'state.patch', fromVersion: 1, toVersion: 2, patch: [{ op: 'spoil', path: '/a' }] }, 'a state.patch message with a bad patch[0].op'],
    [{ type: 'state.patch', fromVersion: 1.5, toVersion: 2, patch: [] }, 'a state.patch message with a bad fromVersion'],
    [{ type: 'logs.append', fromSeq: 3, toSeq: 1, entries: [] }, 'a logs.append message with a bad toSeq'],
    [{ type: 'logs.append', fromSeq: 1, toSeq: 1, entries: [{ ...entry, level: 'loud' }] }, 'a logs.append message with a bad entries[0].level'],
    [{ ...FRAMES[6], samples: [[1, 'x']] }, 'a telemetry message with a bad samples[0]'],
    [{ ...FRAMES[6], endpointId: -1 }, 'a telemetry message with a bad endpointId'],
  ])('names the fault of %j', (raw, name) => {
    expect(fault(raw)).toBe(name)
  })

  it('takes every frame of the shared fixtures and of the recordings', () => {
    const shared = join(import.meta.dirname, '../../tests/fixtures/wire')
    const own = join(import.meta.dirname, '../fixtures')
    const files = [own, ...(existsSync(shared) ? [shared] : [])].flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => /\.jsonl?$/.test(name) && !name.startsWith('client'))
        .map((name) => join(folder, name)),
    )
    const texts = files.flatMap((file) => {
      const text = readFileSync(file, 'utf8')
      return file.endsWith('.jsonl') ? text.split('\n').filter((line) => line.trim() !== '') : [text]
    })
    expect(texts.length).toBeGreaterThan(50)
    expect(texts.map(decodeFrame).filter((result) => !result.ok)).toEqual([])
  })

  it('and the messages of the page are those that the daemon reads', () => {
    // The annotation is the test: it does not compile when the daemon's types leave the page's behind.
    const messages: readonly (ClientMessage & Wire.ClientFrame)[] = [
      { type: 'hello', name: 'page', page: '/' },
      { type: 'ping' },
      { type: 'state.resync' },
      { type: 'logs.replay', sinceSeq: 12 },
      { type: 'subscribe', channel: 'telemetry', endpointIds: [1, 2] },
      { type: 'unsubscribe', channel: 'telemetry', endpointIds: [1] },
    ]
    const all: (message: ClientMessage) => Wire.ClientFrame = (message) => message
    expect(messages.map(all)).toEqual(messages)
  })
})
