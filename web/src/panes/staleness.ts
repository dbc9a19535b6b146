import type { LinkStatus } from '../stores/link'
import type { Device } from '../wire/devices'

export interface Staleness {
  /** In milliseconds since 1970 on the daemon's clock; null when nobody knows. */
  readonly sinceMs: number | null
  readonly why: string
}

export interface StalenessInput {
  readonly link: LinkStatus
  /** When the link left `live`, on the daemon's clock. */
  readonly linkSinceMs: number
  readonly device: Device | undefined
  /** The phase in words of the power meter; null for devices whose words the page does not know. */
  readonly phase: string | null
}

/**
 * Why a slice is not what the device measures now, or null while it is. Only what the link and the state say counts; the page
 * draws no conclusions from silence of its own.
 */
export function staleness(input: StalenessInput): Staleness | null {
  if (input.link !== 'live') return { sinceMs: input.linkSinceMs, why: 'no connection to the daemon' }
  if (input.device?.staleSince != null) {
    const sinceMs = Date.parse(input.device.staleSince)
    return { sinceMs: Number.isNaN(sinceMs) ? null : sinceMs, why: input.device.reason ?? `driver ${input.device.status}` }
  }
  if (input.phase !== null && input.phase !== 'streaming') return { sinceMs: null, why: `meter ${input.phase}` }
  return null
}
