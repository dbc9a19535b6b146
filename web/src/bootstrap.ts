/**
 * Ties the client to the stores. The only place that knows both; panes know the stores, the socket knows neither.
 */

import type { InjectionKey } from 'vue'
import { inject } from 'vue'
import type { Client, Opener } from './socket/client'
import { createClient } from './socket/client'
import type { Rest } from './rest'
import { useAccess } from './stores/access'
import { useCommands } from './stores/commands'
import { useLink } from './stores/link'
import { useLogs } from './stores/logs'
import { useMirror } from './stores/mirror'
import { useTelemetry } from './stores/telemetry'
import { readLogsConfig } from './wire/slices'
import type { JsonObject } from './wire/types'

export const CLIENT: InjectionKey<Client> = Symbol('client')

/** The page's client. Only inside the app that provided it. */
export function useClient(): Client {
  const client = inject(CLIENT)
  if (client === undefined) throw new Error('no client was provided to this app')
  return client
}

/** Builds the client whose messages fill the stores, which must be installed. Without `rest`, as over a recording, nothing is asked over HTTP. */
export function mirrorClient(open: Opener, page: string, rest: Rest | null = null): Client {
  const mirror = useMirror()
  const logs = useLogs()
  const link = useLink()
  const telemetry = useTelemetry()
  const commands = useCommands()
  const access = useAccess()
  let serverConfig: unknown

  function adopt(document: JsonObject): void {
    if (document['serverConfig'] === serverConfig) return
    serverConfig = document['serverConfig']
    logs.adoptServerConfig(readLogsConfig(document))
  }

  return createClient({
    open,
    name: 'autobench mirror',
    page,
    sinks: {
      phase(effect) {
        link.phase(effect)
        // Who is before the page may be another after each connection.
        if (effect.phase === 'live' && rest !== null) void access.refresh(rest)
      },
      welcome: (frame) => link.welcome(frame),
      newBoot: () => logs.restart(),
      snapshot(frame) {
        const document = mirror.replaceSnapshot(frame)
        adopt(document)
        link.synced()
        return document
      },
      patch(frame) {
        const result = mirror.applyPatch(frame)
        if (result.ok) adopt(result.document)
        return result
      },
      resync: (reason) => link.resync(reason),
      logs: (frame, missed) => logs.take(frame, missed),
      telemetry: (frame) => telemetry.take(frame),
      command: (record) => commands.take(record),
      commandsBehind() {
        if (rest !== null) void commands.catchUp(rest)
      },
      pong: (latencyMs, serverMs) => link.pong(latencyMs, serverMs),
      fault: (reason) => link.fault(reason),
    },
  })
}
