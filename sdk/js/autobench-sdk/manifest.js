// A driver's manifest as the world's record: what the author left out has its default.

const LINE = { baudRate: 115_200, dataBits: 'eight', parity: 'none', stopBits: 'one', flowControl: 'none' }
const NO_ARGUMENTS = { type: 'object', additionalProperties: false }

const text = (schema) => (schema === undefined ? undefined : JSON.stringify(schema))

function camelCase(name) {
  return name.replace(/-([a-z0-9])/g, (_, letter) => letter.toUpperCase())
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
      hints: (port.usb ?? []).map((ids) => ({ tag: 'usb', val: ids })),
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
      attributes: [],
    })),
    observes: said.observes ?? [],
    limits: said.memoryBytes === undefined ? [] : [{ tag: 'memory-bytes', val: BigInt(said.memoryBytes) }],
    settingsSchema: text(said.settingsSchema),
    sliceSchema: text(said.sliceSchema),
    pane: text(said.pane),
    snapshotVersion: driverClass.snapshotVersion,
    attributes: [],
  }
}
