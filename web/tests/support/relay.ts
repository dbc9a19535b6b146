import type * as Wire from '../../src/wire/generated/wire'
import type { JsonObject } from '../../src/wire/types'
import { stateDocument } from './state'

/** What the relay board among the fixtures of the stories says of itself, with a series beside it. */
export const RELAY_MANIFEST = {
  name: 'relay',
  version: '1.0.0',
  description: 'Closes and opens a relay.',
  deviceType: 'relay',
  slice: 'relay',
  ports: [{ name: 'main', description: 'Lines of text.', line: '115200 8N1', usb: [], required: true }],
  series: [{ name: 'coilTemperature', unit: '°C', kind: 'measurement', description: 'Temperature of the coil' }],
  commands: [
    { name: 'on', description: 'Closes the relay.', argumentsSchema: { type: 'object', additionalProperties: false }, dangerous: false },
    {
      name: 'pulse',
      description: 'Closes the relay for a time.',
      argumentsSchema: {
        type: 'object',
        additionalProperties: false,
        required: ['ms'],
        properties: {
          label: { type: ['string', 'null'], description: 'For the log.' },
          loud: { type: 'boolean', default: false, description: 'Whether the board is to be told, too.' },
          ms: { type: 'integer', minimum: 1, maximum: 60_000, description: 'How long.' },
        },
      },
      dangerous: false,
    },
    { name: 'reset', description: 'Resets the board.', argumentsSchema: { type: 'object', additionalProperties: false }, dangerous: true },
  ],
  observes: [],
  sliceSchema: {
    type: 'object',
    properties: {
      attached: { type: 'boolean', description: 'Whether the board is there.' },
      commands: { type: 'integer', description: 'Commands that it has been given.' },
      coilTemperature: { type: ['number', 'null'] },
      on: { type: ['boolean', 'null'], description: 'Whether the relay is closed, as the board said last.' },
      lastPulse: { anyOf: [{ $ref: '#/$defs/Pulse' }, { type: 'null' }], description: 'The newest pulse.' },
    },
    $defs: { Pulse: { type: 'object', properties: { at: { type: 'string', format: 'date-time' }, lengthMs: { type: 'integer' } } } },
  },
  snapshotVersion: 1,
} as const

/** The bench of `stateDocument` with a relay board beside the meter, which the layout does not name. */
export function relayDocument(version = 12): Wire.AppState {
  const document = stateDocument(version)
  document.plugins['relay'] = { file: 'relay.wasm', sha256: 'cc', name: 'relay', version: '1.0.0', manifest: { ...RELAY_MANIFEST }, status: 'bound', devices: ['relay'] }
  document.devices['relay'] = {
    type: 'relay',
    plugin: 'relay',
    slice: 'relay',
    status: 'running',
    phase: 'ready',
    driver: {
      sha256: 'cc',
      version: '1.0.0',
      generation: 2,
      health: { calls: 41, faults: 0, memoryBytes: 1_310_720 },
      lastReload: { at: '2026-01-01T00:00:00.000Z', verdict: 'refused', from: 'cc', to: 'dd', reason: 'it wants autobench:driver@0.9.0' },
    },
    ports: { main: { path: '/dev/ttyACM0', attached: true, identity: { usbVendorId: 0x2341, usbProductId: 0x43, serialNumber: 'R7' } } },
    series: { coilTemperature: { endpointId: 9, unit: '°C', kind: 'measurement' } },
    lastSeen: '2026-01-01T00:00:00.000Z',
  }
  document['relay'] = { attached: true, commands: 3, on: null, coilTemperature: 31.25, lastPulse: null, surprise: 'not in the schema' }
  return document
}

/** The same as the mirror holds it. */
export function relayJson(version = 12): JsonObject {
  return JSON.parse(JSON.stringify(relayDocument(version))) as JsonObject
}
