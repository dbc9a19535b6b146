import type { LinkStatus } from '../stores/link'
import type { Device, Manifest } from '../wire/devices'

/** Names of the ports that the driver cannot do without and that are not there. Without a manifest every port counts. */
export function missingPorts(device: Device | undefined, manifest: Manifest | null): readonly string[] {
  if (device === undefined) return []
  const needed = (name: string) => manifest === null || manifest.requiredPorts.includes(name)
  return device.ports.filter(({ name, attached }) => !attached && needed(name)).map(({ name }) => `port ${name}`)
}

export interface AskingInput {
  readonly link: LinkStatus
  /** Whether a recording plays instead of a daemon. */
  readonly replay: boolean
  /** Null while it is not known: the daemon decides then. */
  readonly role: string | null
}

export interface ReadyInput extends AskingInput {
  readonly device: Device | undefined
  readonly manifest: Manifest | null
}

/** Why nothing can be asked of any device now, in words; null when it can. */
export function whyNotAsked({ link, replay, role }: AskingInput): string | null {
  if (replay) return 'This is a recording: it takes no commands.'
  if (link !== 'live') return 'There is no connection to the daemon.'
  return role === 'viewer' ? 'You are a viewer here, and commands take an operator.' : null
}

/** Why a command cannot be sent to a device now, in words; null when it can. */
export function whyNotReady({ device, manifest, ...asking }: ReadyInput): string | null {
  const why = whyNotAsked(asking)
  if (why !== null) return why
  if (device === undefined) return 'The bench has no such device.'
  if (device.status !== 'running') return `The driver is ${device.status}${device.reason === null ? '.' : `: ${device.reason}`}`
  const away = missingPorts(device, manifest)
  return away.length > 0 ? `The device is not there: ${away.join(' and ')} not attached.` : null
}
