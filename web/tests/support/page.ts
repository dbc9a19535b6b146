// The whole page in a test's hands, and a daemon of the test's own on the other end of its socket.

import { createPinia, setActivePinia } from 'pinia'
import { vi } from 'vitest'
import { createApp, nextTick } from 'vue'
import type { App as VueApp } from 'vue'
import App from '../../src/App.vue'
import { CLIENT, mirrorClient } from '../../src/bootstrap'
import type { Rest } from '../../src/rest'
import type { Opener, TransportEvents } from '../../src/socket/client'
import type { ClientMessage } from '../../src/wire/types'
import { stateJson } from './state'

let app: VueApp | null = null

export function open(opener: Opener, rest: Rest | null = null): ReturnType<typeof mirrorClient> {
  const root = document.createElement('div')
  document.body.append(root)
  app = createApp(App)
  const pinia = createPinia()
  app.use(pinia)
  setActivePinia(pinia)
  const client = mirrorClient(opener, '/', rest)
  app.provide(CLIENT, client)
  app.mount(root)
  client.start()
  return client
}

/** Lets the fake time pass. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
  await nextTick()
}

export function text(id: string): string {
  return document.querySelector(`[data-testid="${id}"]`)?.textContent?.trim() ?? `(no ${id})`
}

export function close(): void {
  app?.unmount()
  app = null
  document.body.innerHTML = ''
}

/** A daemon in the test's hands. */
export function daemon() {
  const sent: ClientMessage[] = []
  let events: TransportEvents | null = null
  const opener: Opener = (_resume, given) => {
    events = given
    return { send: (message) => sent.push(message), close: () => undefined }
  }
  const says = (message: object) => events?.message(JSON.stringify(message))
  return {
    sent,
    opener,
    says,
    /** What a daemon says first, with this document. */
    greet(version = 12, data = stateJson(version)) {
      events?.open()
      says({ type: 'welcome', protocol: 'autobench.v1', serverTime: '2026-01-01T00:00:00.000Z', serverVersion: '0.1.0', bootId: 'b1', clientId: 'c-1', resumed: false })
      says({ type: 'state.snapshot', bootId: 'b1', stateVersion: version, data })
    },
    drop: () => events?.close(1006, ''),
  }
}
