import { acceptHMRUpdate, defineStore } from 'pinia'
import { Series } from '../chart/series'
import type { TelemetryFrame } from '../wire/types'

/**
 * The samples of the subscribed endpoints, as columns of numbers outside Vue's reactivity: a chart asks to be told and draws once per
 * frame. The daemon sends its ring of the last minutes on every subscription, so a reload of the page loses nothing.
 */
export const useTelemetry = defineStore('telemetry', () => {
  const series = new Map<number, Series>()
  const listeners = new Map<number, Set<() => void>>()

  function take(frame: TelemetryFrame): void {
    let known = series.get(frame.endpointId)
    // An id that names another endpoint now (another data folder) starts a new series.
    if (known === undefined || known.endpoint !== frame.endpoint || known.unit !== frame.unit) {
      known = new Series(frame.endpointId, frame.endpoint, frame.unit)
      series.set(frame.endpointId, known)
    }
    known.add(frame.samples)
    for (const listener of listeners.get(frame.endpointId) ?? []) listener()
  }

  function get(endpointId: number): Series | null {
    return series.get(endpointId) ?? null
  }

  /** Calls `listener` after each batch of the endpoint until the returned function is called. */
  function listen(endpointId: number, listener: () => void): () => void {
    const set = listeners.get(endpointId) ?? new Set()
    listeners.set(endpointId, set)
    set.add(listener)
    return () => {
      set.delete(listener)
      if (set.size === 0) listeners.delete(endpointId)
    }
  }

  return { take, get, listen }
})

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useTelemetry, import.meta.hot))
