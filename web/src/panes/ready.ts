import type { Device, Manifest } from '../wire/devices'

/** Names of the ports that the driver cannot do without and that are not there. Without a manifest every port counts. */
export function missingPorts(device: Device | undefined, manifest: Manifest | null): readonly string[] {
  if (device === undefined) return []
  const needed = (name: string) => manifest === null || manifest.requiredPorts.includes(name)
  return device.ports.filter(({ name, attached }) => !attached && needed(name)).map(({ name }) => `port ${name}`)
}
