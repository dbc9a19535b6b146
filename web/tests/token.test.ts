// @vitest-environment happy-dom
// The form that asks for a token, and what becomes of the token.

import { createPinia, setActivePinia } from 'pinia'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createApp, nextTick } from 'vue'
import type { App as VueApp } from 'vue'
import App from '../src/App.vue'
import { CLIENT, mirrorClient } from '../src/bootstrap'
import { beginSession } from '../src/session'
import type { TransportEvents } from '../src/socket/client'
import { useLink } from '../src/stores/link'

const WELCOME = {
  type: 'welcome',
  protocol: 'autobench.v1',
  serverTime: '2026-01-01T00:00:00.000Z',
  serverVersion: '0.1.0',
  bootId: '7f3a91c04be25d68',
  clientId: 'c-1',
  limits: {},
  features: [],
  resumed: false,
}

let app: VueApp | null = null

afterEach(() => {
  app?.unmount()
  app = null
  vi.unstubAllGlobals()
  document.body.innerHTML = ''
})

/** A page whose daemon asks for a token until there is a session. */
function lockedPage() {
  const sockets: TransportEvents[] = []
  const root = document.createElement('div')
  document.body.append(root)
  app = createApp(App)
  const pinia = createPinia()
  app.use(pinia)
  setActivePinia(pinia)
  const client = mirrorClient((_resume, events) => {
    sockets.push(events)
    return { send() {}, close() {} }
  }, '/')
  app.provide(CLIENT, client)
  app.mount(root)
  client.start()
  sockets[0]?.open()
  sockets[0]?.message(JSON.stringify({ ...WELCOME, authRequired: true }))
  return sockets
}

function answer(status: number, body: unknown) {
  const ask = vi.fn<typeof fetch>(() => Promise.resolve(new Response(JSON.stringify(body), { status })))
  vi.stubGlobal('fetch', ask)
  return ask
}

async function submit(token: string): Promise<void> {
  await nextTick()
  const field = document.querySelector<HTMLInputElement>('#token')
  if (field === null) throw new Error('there is no field for the token')
  field.value = token
  field.dispatchEvent(new Event('input'))
  document.querySelector('form')?.dispatchEvent(new Event('submit', { cancelable: true }))
  await vi.waitFor(() => {
    if (field.isConnected && field.value !== '') throw new Error('the token is still there')
  })
  await nextTick()
}

describe('the form for the token', () => {
  it('gives the token for a session and connects again', async () => {
    const sockets = lockedPage()
    const ask = answer(200, { actor: 'lab', role: 'viewer', authRequired: true })
    await submit(' 3f1c ')
    expect(ask).toHaveBeenCalledTimes(1)
    const [address, request] = ask.mock.calls[0] ?? []
    expect(address).toBe('/api/v1/session')
    expect(request).toMatchObject({ method: 'POST', body: '{"token":"3f1c"}' })
    expect(sockets.length).toBe(2)
    expect(useLink().status).toBe('connecting')
    await nextTick()
    expect(document.querySelector('form')).toBeNull()
  })

  it('says why a token is not taken and keeps it nowhere', async () => {
    const sockets = lockedPage()
    answer(401, { code: 'wrong-token', detail: 'this token is not known' })
    await submit('hunter2')
    expect(document.querySelector('[role="alert"]')?.textContent).toBe('this token is not known')
    expect(sockets.length).toBe(1)
    expect(document.body.innerHTML).not.toContain('hunter2')
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain('hunter2')
  })
})

describe('beginning a session', () => {
  it('tells what the daemon tells, and what can be told without it', async () => {
    const with_ = (response: Promise<Response>) => beginSession('x', () => response)
    expect(await with_(Promise.resolve(new Response('', { status: 502 })))).toEqual({ ok: false, reason: 'The daemon answered 502.' })
    expect(await with_(Promise.reject(new Error('refused')))).toEqual({ ok: false, reason: 'The daemon cannot be reached.' })
    expect(await with_(Promise.resolve(new Response('{}')))).toEqual({ ok: true })
  })
})
