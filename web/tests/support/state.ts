import type * as Wire from '../../src/wire/generated/wire'
import type { JsonObject } from '../../src/wire/types'

/** A state document in the daemon's own types: where those change, the page's readers have to be looked at, and this fails to compile. */
export function stateDocument(version = 12): Wire.AppState {
  return {
    version,
    meta: { bootId: '7f3a91c04be25d68', startedAt: '2026-01-01T00:00:00.000Z', build: '0.1.0', status: 'ready', clients: 2, maxClientLagVersions: 0, errors: 0, timings: {} },
    message: '',
    layout: {
      rows: 2,
      cols: 2,
      panes: [
        { id: 'power', pane: 'power-meter', slice: 'powerMeter', device: 'meter', row: 0, col: 0, rowSpan: 1, colSpan: 1 },
        { id: 'logs', pane: 'logs', row: 0, col: 1, rowSpan: 1, colSpan: 1 },
        { id: 'state', pane: 'state', row: 1, col: 0, rowSpan: 1, colSpan: 2 },
      ],
    },
    config: { requestSample: 1, features: {} },
    serverConfig: {
      logs: { snapshot: 100, capacity: 250, allowedChannels: ['app', 'device'], minLevel: 'info' },
      ws: {
        heartbeatIntervalMs: 10_000,
        heartbeatTimeoutMs: 5_000,
        reconnectEnabled: true,
        reconnectMinMs: 1_000,
        reconnectMaxMs: 15_000,
        reconnectFactor: 1.8,
        reconnectJitter: 0.2,
      },
    },
    plugins: {
      'power-meter': { file: 'power-meter.wasm', sha256: 'aa', name: 'power-meter', version: '0.1.0', manifest: {}, status: 'bound', devices: ['meter'] },
      broken: { file: 'broken.wasm', sha256: 'bb', status: 'refused', reason: 'not a component', devices: [] },
    },
    devices: {
      meter: {
        type: 'power-meter',
        plugin: 'power-meter',
        slice: 'powerMeter',
        status: 'running',
        phase: 'streaming',
        driver: {
          sha256: 'aa',
          version: '0.1.0',
          generation: 3,
          health: {},
          lastReload: { at: '2026-01-01T00:00:00.000Z', verdict: 'swapped', from: 'bb', to: 'aa', pauseUs: 120, carriedBytes: 17 },
        },
        ports: { main: { path: '/dev/ttyUSB0', attached: true } },
        series: { watts: { endpointId: 1, unit: 'W', kind: 'measurement' }, energy: { endpointId: 6, unit: 'Wh', kind: 'total' } },
        lastSeen: '2026-01-01T00:00:00.000Z',
      },
    },
    streams: {},
    jobs: { queue: [], running: [] },
    pno: { status: 'idle', findings: [] },
    logs: { nextSeq: 1, capacity: 500, size: 0, head: 0 },
    alarms: {},
    powerMeter: {
      phase: 'streaming',
      stats: { totalSamples: 4, badRows: 1, bytesReceived: 300, lastSampleAt: 1767225600000, lastErrorAt: null },
      lastSample: { ts: '2026-01-01T00:00:00.000Z', watts: 96.5, volts: 120.4, amps: 0.792 },
    },
  }
}

/** The same as the mirror holds it. */
export function stateJson(version = 12): JsonObject {
  return JSON.parse(JSON.stringify(stateDocument(version))) as JsonObject
}
