import { acceptHMRUpdate, defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import type { SessionEffect } from '../socket/session'
import type { MessageLimits, WelcomeFrame } from '../wire/types'

export type LinkStatus = 'connecting' | 'live' | 'resyncing' | 'waiting' | 'stopped' | 'locked'

/** Whether the socket is there that holds hang on: a resync keeps it. */
export function isConnected(status: LinkStatus): boolean {
  return status === 'live' || status === 'resyncing'
}

/**
 * How the page is connected: status, since when, failed attempts, latency, and by how much the daemon's clock differs from this
 * computer's. Ages are measured on the daemon's clock.
 */
export const useLink = defineStore('link', () => {
  const status = ref<LinkStatus>('connecting')
  const sinceMs = ref(Date.now())
  const attempts = ref(0)
  const retryAtMs = ref<number | null>(null)
  const latencyMs = ref<number | null>(null)
  const clockOffsetMs = ref(0)
  const reason = ref<string | null>(null)
  const faults = ref(0)
  const lastFault = ref<string | null>(null)
  const server = shallowRef<{ readonly version: string; readonly clientId: string } | null>(null)
  /** What the daemon takes from this page. */
  const limits = shallowRef<MessageLimits>({ messagesPerS: 10, messageBurst: 20 })
  /** Whether a recording plays instead of a daemon. */
  const replay = ref(false)
  const isLive = computed(() => status.value === 'live')

  function phase(effect: Extract<SessionEffect, { kind: 'phase' }>): void {
    attempts.value = effect.attempt
    retryAtMs.value = effect.retryInMs === null ? null : Date.now() + effect.retryInMs
    if (effect.reason !== null) reason.value = effect.reason
    switch (effect.phase) {
      case 'live':
        reason.value = null
        return enter('live')
      case 'waiting':
        latencyMs.value = null
        return enter('waiting')
      case 'locked':
        latencyMs.value = null
        return enter('locked')
      case 'idle':
      case 'stopped':
        latencyMs.value = null
        return enter('stopped')
      case 'connecting':
      case 'opening':
        return enter('connecting')
    }
  }

  function enter(next: LinkStatus): void {
    if (status.value === next) return
    status.value = next
    sinceMs.value = Date.now()
  }

  function resync(why: string): void {
    reason.value = why
    enter('resyncing')
  }

  /** A snapshot ends a resync; on a fresh connection the phase says so itself. */
  function synced(): void {
    if (status.value !== 'resyncing') return
    reason.value = null
    enter('live')
  }

  function welcome(frame: WelcomeFrame): void {
    server.value = { version: frame.serverVersion, clientId: frame.clientId }
    limits.value = frame.limits
    const serverMs = Date.parse(frame.serverTime)
    if (!Number.isNaN(serverMs)) clockOffsetMs.value = serverMs - Date.now()
  }

  function pong(latency: number, serverMs: number | null): void {
    latencyMs.value = latency
    // The answer was half the round trip old when it came.
    if (serverMs !== null) clockOffsetMs.value = serverMs + latency / 2 - Date.now()
  }

  function fault(what: string): void {
    faults.value += 1
    lastFault.value = what
  }

  return {
    status,
    sinceMs,
    attempts,
    retryAtMs,
    latencyMs,
    clockOffsetMs,
    reason,
    faults,
    lastFault,
    server,
    limits,
    replay,
    isLive,
    phase,
    resync,
    synced,
    welcome,
    pong,
    fault,
  }
})

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useLink, import.meta.hot))
