/**
 * `window.autobench`: the page's debugging aid, read-only. In the browser's console, `autobench.document()` is what the mirror holds right
 * now, as plain JSON; it equals the daemon's `/api/v1/state` when `autobench.version()` equals that document's version.
 */

import { useMirror } from './stores/mirror'
import { useTelemetry } from './stores/telemetry'
import type { JsonObject } from './wire/types'

export interface AutobenchDebug {
  /** Version of the mirror, null before the first snapshot. */
  version(): number | null
  /** A copy of the mirror's document, null before the first snapshot. */
  document(): JsonObject | null
  /** Which run of the daemon the mirror shows. */
  bootId(): string | null
  /** A copy of what the page holds of a subscribed telemetry series, null when it holds none. */
  series(endpointId: number): { endpointId: number; endpoint: string; unit: string; samples: [number, number][] } | null
}

declare global {
  interface Window {
    readonly autobench: AutobenchDebug
  }
}

export function exposeDebug(target: Window): void {
  const mirror = useMirror()
  const telemetry = useTelemetry()
  const debug: AutobenchDebug = Object.freeze({
    version: () => mirror.version,
    document: () => structuredClone(mirror.document),
    bootId: () => mirror.bootId,
    series(endpointId: number) {
      const series = telemetry.get(endpointId)
      if (series === null) return null
      const { timestamps, values } = series
      const samples = Array.from(timestamps, (at, i): [number, number] => [at, values[i] as number])
      return { endpointId, endpoint: series.endpoint, unit: series.unit, samples }
    },
  })
  Object.defineProperty(target, 'autobench', { value: debug, writable: false, configurable: false })
}
