import type * as Wire from '../../src/wire/generated/wire'
import type { JsonObject } from '../../src/wire/types'
import { stateDocument } from './state'

const NOTHING = { type: 'object', additionalProperties: false }
const BUTTON = { type: 'string', enum: ['power', 'reset'] }
const CLOSING = { type: 'object', additionalProperties: false, required: ['button'], properties: { button: BUTTON, ms: { type: ['integer', 'null'], minimum: 50, maximum: 10_000 } } }

function command(name: string, description: string, argumentsSchema: object, more: { readonly dangerous?: boolean; readonly hold?: boolean } = {}) {
  return { name, description, argumentsSchema, dangerous: more.dangerous === true, hold: more.hold === true }
}

function manifest(name: string, description: string, slice: string, commands: readonly object[]) {
  const ports = [{ name: 'main', description: 'The USB port.', line: '9600 8N1', usb: [], required: true }]
  return { name, version: '0.1.0', description, deviceType: name, slice, ports, series: [], commands, observes: [], sliceSchema: { type: 'object' }, snapshotVersion: 1 }
}

const KEYED = (name: string) => ({ type: 'object', required: [name], properties: { [name]: { type: 'string' } } })

export const ATX_MANIFEST = manifest('atx', 'ATX front-panel controller.', 'frontPanel', [
  command('press', 'Presses a button.', CLOSING, { dangerous: true }),
  command('hold', 'Holds a button down until it is released, or whoever asked for it is gone.', CLOSING, { dangerous: true, hold: true }),
  command('release', 'Lets a held button go.', { type: 'object', required: ['button'], properties: { button: BUTTON } }),
  command('on', 'Switches the PC on, if it is off.', NOTHING, { dangerous: true }),
  command('off', 'Presses power, if the PC is on, and waits until it is off.', NOTHING, { dangerous: true }),
  command('force-off', "Cuts the PC's power with a long press, if it is on.", NOTHING, { dangerous: true }),
  command('reset', 'Resets the PC, if it is on.', NOTHING, { dangerous: true }),
  command('cycle', "Cuts the PC's power and switches it on again.", NOTHING, { dangerous: true }),
])

export const KEYBOARD_MANIFEST = manifest('keyboard', 'PS/2 keyboard adapter: presses keys of a PC.', 'ps2Keyboard', [
  command('press', 'Presses a key and lets it go.', KEYED('key')),
  command('hold', 'Holds a key.', KEYED('key'), { hold: true }),
  command('keys', 'Puts keys down and up, one after the other, as somebody at the keyboard does.', KEYED('events'), { hold: true }),
  command('release', 'Lets a key go.', KEYED('key')),
  command('release-all', 'Withdraws all other commands, and lets all keys and modifiers go.', NOTHING),
  command('combo', 'Strikes a key while modifiers are held.', KEYED('keys')),
  command('type', 'Types a text.', KEYED('text')),
  command('macro', 'Does what the settings say under a name.', KEYED('name')),
  command('power', 'Says who tells the mouse adapter whether the PC is on.', KEYED('mode')),
  command('cancel-all', 'Withdraws all other commands. Keys that are held stay held.', NOTHING),
])

function device(type: string, slice: string, path: string): Wire.DeviceEntry {
  return {
    type,
    plugin: type,
    slice,
    status: 'running',
    phase: 'ready',
    driver: { sha256: 'cc', version: '0.1.0', generation: 2, health: {} },
    ports: { main: { path, attached: true } },
    series: {},
    lastSeen: '2026-01-01T00:00:00.000Z',
  }
}

export const T0 = Date.UTC(2026, 0, 1)

/** A bench with a PC on it: its front panel and its keyboard, both ready, and the meter from before. */
export function pcDocument(version = 12): Wire.AppState {
  const document = stateDocument(version)
  for (const described of [ATX_MANIFEST, KEYBOARD_MANIFEST]) {
    const { name } = described
    document.plugins[name] = { file: `${name}.wasm`, sha256: 'cc', name, version: '0.1.0', manifest: described, status: 'bound', devices: [name] }
  }
  document.devices['atx'] = device('atx', 'frontPanel', '/dev/ttyACM0')
  document.devices['keyboard'] = device('keyboard', 'ps2Keyboard', '/dev/ttyACM1')
  document['frontPanel'] = {
    phase: 'ready',
    identified: true,
    deviceId: 'usb:2341:8037:1',
    devicePath: '/dev/ttyACM0',
    baudRate: 9600,
    powerSense: 'on',
    hddActive: false,
    powerButtonHeld: false,
    resetButtonHeld: false,
    busy: false,
    queueDepth: 0,
    currentOp: null,
    lastError: null,
    errorHistory: [],
    operationHistory: [{ id: 'a-1', kind: 'on', status: 'completed', createdAt: T0 - 60_000, requestedBy: 'local', label: 'switch the PC on' }],
    stats: { lines: 12, unknownLines: 0, autoReleases: 0 },
    updatedAt: T0,
  }
  document['ps2Keyboard'] = {
    phase: 'ready',
    identified: true,
    deviceId: 'KB',
    devicePath: '/dev/ttyACM1',
    baudRate: 9600,
    power: 'unknown',
    powerSense: 'on',
    lights: { scroll: false, num: true, caps: false },
    layout: 'us',
    layouts: [{ name: 'us', title: 'US English' }, { name: 'uk', title: 'UK English' }, { name: 'de', title: 'German' }],
    macros: [],
    busy: false,
    queueDepth: 0,
    currentOp: null,
    heldKeys: [],
    lastError: null,
    errorHistory: [],
    operationHistory: [],
    updatedAt: null,
  }
  return document
}

/** The same as the mirror holds it, with some of it changed. */
export function pcJson(change: (document: Wire.AppState) => void = () => undefined, version = 12): JsonObject {
  const document = pcDocument(version)
  change(document)
  return JSON.parse(JSON.stringify(document)) as JsonObject
}
