import { computed } from 'vue'
import { ABSENT, formatAge, formatClock } from '../components/format'
import { whyNotAsked, whyNotReady } from '../panes/ready'
import { staleness } from '../panes/staleness'
import { useAccess } from '../stores/access'
import { useLink } from '../stores/link'
import { useMirror } from '../stores/mirror'
import { readDevice, readPlugin } from '../wire/devices'
import type { CommandDescription } from '../wire/devices'
import { useFollowedCommands } from './useCommands'
import { useServerNow } from './useServerNow'

/** What a pane for one type of device has to know beyond its slice: whether what it shows is so now, and whether anything can be asked. */
export function useDevice(props: { readonly device: string | null; readonly slice: string | null }) {
  const mirror = useMirror()
  const link = useLink()
  const access = useAccess()
  const now = useServerNow({ everyMs: 500 })
  useFollowedCommands()

  const devices = mirror.member(() => 'devices')
  const plugins = mirror.member(() => 'plugins')
  const device = computed(() => readDevice(devices.value, props.device))
  const manifest = computed(() => readPlugin(plugins.value, device.value?.plugin ?? null)?.manifest ?? null)
  const sliceName = computed(() => device.value?.slice ?? props.slice)
  const member = mirror.member(() => sliceName.value)

  const stale = computed(() => staleness({ link: link.status, linkSinceMs: link.sinceMs + link.clockOffsetMs, device: device.value, phase: null }))
  const staleText = computed(() => {
    if (stale.value === null) return null
    const since = stale.value.sinceMs === null ? '' : ` since ${formatClock(stale.value.sinceMs)}`
    return `Stale${since}: ${stale.value.why}`
  })
  /** How long ago the driver dealt with something of the device. */
  const age = computed(() => {
    const at = Date.parse(device.value?.lastSeen ?? '')
    return Number.isNaN(at) ? ABSENT : `${formatAge(now.value - at)} ago`
  })

  const asking = computed(() => ({ link: link.status, replay: link.replay, role: access.role }))
  /** Why nothing can be sent to the device, as far as the daemon knows; the device's own phase is in the slice. */
  const notReady = computed(() => {
    const why = whyNotReady({ ...asking.value, device: device.value, manifest: manifest.value })
    return why ?? (manifest.value === null ? 'The daemon does not say which commands the driver has.' : null)
  })
  /** Why nothing under way can be given up: it can also where the device takes no more. */
  const cancelBlocked = computed(() => whyNotAsked(asking.value))

  function command(name: string): CommandDescription | undefined {
    return manifest.value?.commands.find((other) => other.name === name)
  }

  return { device, manifest, member, sliceName, stale, staleText, age, notReady, cancelBlocked, command }
}

/** Why a device whose slice says how it is takes no commands, in words; null when it does. */
export function whyNotInPhase(what: string, slice: { readonly phase: string; readonly message: string | null } | undefined): string | null {
  if (slice === undefined) return `The ${what} has not said how it is.`
  if (slice.phase === 'ready') return null
  return `The ${what} is ${slice.phase}${slice.message === null ? '.' : `: ${slice.message}`}`
}
