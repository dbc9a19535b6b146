import { createPinia } from 'pinia'
import { createApp } from 'vue'
import App from './App.vue'
import { CLIENT, mirrorClient } from './bootstrap'
import { exposeDebug } from './debug'
import type { Opener } from './socket/client'
import { createRest } from './rest'
import { parseReplay, replayAddress, replayOpener } from './socket/replay'
import { socketAddress, webSocketOpener } from './socket/websocket'
import { useLink } from './stores/link'
import './styles/main.css'

async function main(): Promise<void> {
  const app = createApp(App)
  app.use(createPinia())
  const recording = replayAddress(new URL(location.href))
  useLink().replay = recording !== null
  const open = recording === null ? webSocketOpener(socketAddress(location)) : await openRecording(recording)
  // A bare `fetch` wants the window as its owner.
  const rest = recording === null ? createRest((...request) => fetch(...request)) : null
  const client = mirrorClient(open, location.pathname, rest)
  app.provide(CLIENT, client)
  exposeDebug(window)
  app.mount('#app')
  client.start()

  window.addEventListener('online', () => client.retryNow())
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') client.retryNow()
  })
  // A page that goes to the browser's back-forward cache must not keep a socket; when it comes back it connects again.
  window.addEventListener('pagehide', () => client.stop())
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) client.start()
  })
}

async function openRecording(address: URL): Promise<Opener> {
  const response = await fetch(address)
  if (!response.ok) throw new Error(`the recording ${address.pathname} cannot be had: ${response.status}`)
  return replayOpener(parseReplay(await response.text()))
}

main().catch((error: unknown) => {
  const text = document.createElement('p')
  text.setAttribute('role', 'alert')
  text.textContent = `The page could not start: ${error instanceof Error ? error.message : String(error)}`
  document.body.append(text)
})
