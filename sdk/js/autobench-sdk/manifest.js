// A driver's manifest as the world's record: what the author left out has its default.

import { bytesOf } from './context.js'

const LINE = { baudRate: 115_200, dataBits: 'eight', parity: 'none', stopBits: 'one', flowControl: 'none' }
const NO_ARGUMENTS = { type: 'object', additionalProperties: false }

const text = (schema) => (schema === undefined ? undefined : JSON.stringify(schema))

function camelCase(name) {
  return name.replace(/-([a-z0-9])/g, (_, letter) => letter.toUpperCase())
}

/** `usb` are pairs of ids that the device may have; `handshake` is what it is asked, and what it answers within a time. */
function hints({ usb = [], handshake }) {
  const said = usb.map((ids) => ({ tag: 'usb', val: ids }))
  if (handshake) said.push({ tag: 'handshake', val: { ...handshake, send: bytesOf(handshake.send) } })
  return said
}

function limits({ memoryBytes, sliceBytes }) {
  const asked = []
  if (memoryBytes !== undefined) asked.push({ tag: 'memory-bytes', val: BigInt(memoryBytes) })
  if (sliceBytes !== undefined) asked.push({ tag: 'slice-bytes', val: BigInt(sliceBytes) })
  return asked
}

/** The record of `wit/guest.wit`. */
export function manifestRecord(driverClass) {
  const said = driverClass.manifest()
  return {
    name: said.name,
    version: said.version,
    description: said.description ?? '',
    deviceType: said.deviceType ?? said.name,
    slice: said.slice ?? camelCase(said.name),
    ports: (said.ports ?? []).map((port) => ({
      name: port.name,
      description: port.description ?? '',
      line: { ...LINE, ...port.line },
      hints: hints(port),
      required: port.required ?? true,
      attributes: [],
    })),
    series: (said.series ?? []).map(({ name, unit, kind = 'measurement', description = '' }) => ({
      name,
      unit,
      kind,
      description,
      attributes: [],
    })),
    commands: (said.commands ?? []).map((command) => ({
      name: command.name,
      description: command.description ?? '',
      argumentsSchema: text(command.arguments ?? NO_ARGUMENTS),
      dangerous: command.dangerous ?? false,
      hold: command.hold ?? false,
      attributes: [],
    })),
    observes: said.observes ?? [],
    limits: limits(said),
    settingsSchema: text(said.settingsSchema),
    sliceSchema: text(said.sliceSchema),
    pane: text(said.pane),
    snapshotVersion: driverClass.snapshotVersion,
    attributes: [],
  }
}
