/**
 * Runs a `Session` on real sockets and real time, and hands what arrives to its sinks one message at a time, in order.
 */

import { readWsConfig } from '../wire/slices'
import type { Answer, ClientMessage, CommandRecord, JsonObject, LogsFrame, PatchFrame, Question, SeqRange, SnapshotFrame, TelemetryFrame, WelcomeFrame } from '../wire/types'
import { Session } from './session'
import type { SessionEffect, SessionEvent } from './session'

/** What the client asks of a transport: a WebSocket, or a recording. */
export interface Transport {
  send(message: ClientMessage): void
  close(code: number, reason: string): void
}

export interface TransportEvents {
  open(): void
  message(text: string): void
  close(code: number, reason: string): void
}

/** Opens a transport; `resume` is where the mirror stands, or null. */
export type Opener = (resume: string | null, events: TransportEvents) => Transport

/** Where the client puts what it receives. */
export interface Sinks {
  phase(effect: Extract<SessionEffect, { kind: 'phase' }>): void
  welcome(frame: WelcomeFrame): void
  newBoot(bootId: string): void
  /** Returns the document as it is now. */
  snapshot(frame: SnapshotFrame): JsonObject
  /** Returns the document as it is now, or why the patch does not fit. */
  patch(frame: PatchFrame): { readonly ok: true; readonly document: JsonObject } | { readonly ok: false; readonly reason: string }
  resync(reason: string): void
  logs(frame: LogsFrame, missed: SeqRange | null): void
  telemetry(frame: TelemetryFrame): void
  command(record: CommandRecord): void
  /** Commands from before now have to be fetched. */
  commandsBehind(): void
  pong(latencyMs: number, serverMs: number | null): void
  fault(reason: string): void
}

/** One mirror's connection, live or replayed. */
export interface Client {
  start(): void
  stop(): void
  /** Ends a backoff early. */
  retryNow(): void
  /** Telemetry of these endpoints, also after reconnects, until the returned function is called. */
  subscribe(endpointIds: readonly number[]): () => void
  /** Every command of the bench, also after reconnects, until the returned function is called. */
  followCommands(): () => void
  /** Asks once, on the connection that there is. Always answered: when that connection ends, it says so. */
  ask(question: Question): Promise<Answer>
}

export interface ClientOptions {
  readonly open: Opener
  readonly sinks: Sinks
  readonly name: string
  readonly page: string
  readonly random?: () => number
}

export function createClient(options: ClientOptions): Client {
  const { open, sinks } = options
  const session = new Session({ name: options.name, page: options.page, random: options.random ?? Math.random })
  const transports = new Map<number, Transport>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let serverConfig: unknown
  const waiting = new Map<string, (answer: Answer) => void>()
  let asked = 0
  /** By how many holders each endpoint has gained or lost since the last flush. */
  const wanted = new Map<number, number>()

  /** A page full of charts is one message: they all come in one turn of the event loop, and the daemon counts messages. */
  function want(endpointIds: readonly number[], change: 1 | -1): void {
    if (wanted.size === 0) queueMicrotask(flushWanted)
    for (const id of endpointIds) wanted.set(id, (wanted.get(id) ?? 0) + change)
  }

  function flushWanted(): void {
    const changes = [...wanted]
    wanted.clear()
    const times = (sign: 1 | -1) => changes.flatMap(([id, change]) => Array<number>(Math.max(0, change * sign)).fill(id))
    const more = times(1)
    const fewer = times(-1)
    if (more.length > 0) dispatch({ kind: 'subscribe', endpointIds: more })
    if (fewer.length > 0) dispatch({ kind: 'unsubscribe', endpointIds: fewer })
  }

  function dispatch(event: SessionEvent): void {
    // What an effect leads to comes after the effects that stand in line with it.
    const followUps: SessionEvent[] = []
    for (const effect of session.step(event, performance.now())) run(effect, followUps)
    for (const followUp of followUps) dispatch(followUp)
    arm()
  }

  function arm(): void {
    clearTimeout(timer)
    const at = session.wakeAt()
    if (at !== null) timer = setTimeout(() => dispatch({ kind: 'wake' }), Math.max(0, at - performance.now()))
  }

  function run(effect: SessionEffect, followUps: SessionEvent[]): void {
    switch (effect.kind) {
      case 'open': {
        const { socket, resume } = effect
        const transport = open(resume, {
          open: () => dispatch({ kind: 'socket-open', socket }),
          message: (text) => dispatch({ kind: 'socket-message', socket, text }),
          close: (code, reason) => {
            transports.delete(socket)
            dispatch({ kind: 'socket-close', socket, code, reason })
          },
        })
        transports.set(socket, transport)
        return
      }
      case 'send':
        transports.get(effect.socket)?.send(effect.message)
        return
      case 'close':
        transports.get(effect.socket)?.close(effect.code, effect.reason)
        transports.delete(effect.socket)
        return
      case 'phase':
        return sinks.phase(effect)
      case 'welcome':
        return sinks.welcome(effect.frame)
      case 'new-boot':
        return sinks.newBoot(effect.bootId)
      case 'snapshot':
        return adopt(sinks.snapshot(effect.frame), followUps)
      case 'patch': {
        const result = sinks.patch(effect.frame)
        if (result.ok) adopt(result.document, followUps)
        else followUps.push({ kind: 'patch-refused', reason: result.reason })
        return
      }
      case 'resync':
        return sinks.resync(effect.reason)
      case 'logs':
        return sinks.logs(effect.frame, effect.missed)
      case 'telemetry':
        return sinks.telemetry(effect.frame)
      case 'answer':
        waiting.get(effect.id)?.(effect.answer)
        waiting.delete(effect.id)
        return
      case 'command':
        return sinks.command(effect.record)
      case 'commands-behind':
        return sinks.commandsBehind()
      case 'pong':
        return sinks.pong(effect.latencyMs, effect.serverMs)
      case 'fault':
        return sinks.fault(effect.reason)
    }
  }

  /** The daemon's heartbeat and reconnect settings hold from the moment they are in the mirror. */
  function adopt(document: JsonObject, followUps: SessionEvent[]): void {
    if (document['serverConfig'] === serverConfig) return
    serverConfig = document['serverConfig']
    followUps.push({ kind: 'configure', ws: readWsConfig(document) })
  }

  return {
    start: () => dispatch({ kind: 'start' }),
    stop: () => dispatch({ kind: 'stop' }),
    retryNow: () => dispatch({ kind: 'retry-now' }),
    subscribe(endpointIds) {
      want(endpointIds, 1)
      let held = true
      return () => {
        if (held) want(endpointIds, -1)
        held = false
      }
    },
    followCommands() {
      dispatch({ kind: 'follow-commands' })
      let held = true
      return () => {
        if (held) dispatch({ kind: 'unfollow-commands' })
        held = false
      }
    },
    ask(question) {
      return new Promise((resolve) => {
        const id = `ask-${(asked += 1)}`
        waiting.set(id, resolve)
        dispatch({ kind: 'ask', id, question })
      })
    },
  }
}
